"""The virtual GPUs of the lab: which system, shim and variable stand for which."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Device:
    name: str
    vendor: str  # amd, intel, nvidia
    generation: str
    root: str  # the system: new or old Mesa
    driver: str  # X of X_icd.json
    variable: str  # selects the device, as VARIABLE=value
    shim: str = ""

    def environment(self):
        env = [self.variable, "MESA_SHADER_CACHE_DISABLE=true",
               f"VK_DRIVER_FILES=/usr/share/vulkan/icd.d/{self.driver}_icd.json"]
        return [f"LD_PRELOAD={self.shim}", *env] if self.shim else env


def amd(gpu, generation):
    return Device(gpu, "amd", generation, "new", "radeon", f"AMDGPU_GPU_ID={gpu}",
                  "libamdgpu_noop_drm_shim.so")


def amd_family(family, generation):
    """Mesa before 26 pretends by itself, for families that the shim does not know."""
    return Device(family, "amd", generation, "old", "radeon", f"RADV_FORCE_FAMILY={family}")


def intel(platform, generation):
    return Device(platform, "intel", generation, "new", "intel",
                  f"INTEL_STUB_GPU_PLATFORM={platform}", "/opt/libintel_noop_drm_shim.so")


def nvidia(name, chipset, generation):
    return Device(name, "nvidia", generation, "new", "nouveau", f"NOUVEAU_CHIPSET={chipset}",
                  "libnouveau_noop_drm_shim.so")


DEVICES = [
    amd("polaris10", "GCN4"),
    amd("vega10", "GCN5"),
    amd("renoir", "GCN5, integrated"),
    amd("navi10", "RDNA1"),
    amd("navi21", "RDNA2"),
    amd("rembrandt", "RDNA2, integrated"),
    amd("navi31", "RDNA3"),
    amd("phoenix", "RDNA3, integrated"),
    amd("strix1", "RDNA3.5, integrated"),
    amd_family("gfx1151", "RDNA3.5, integrated"),
    amd("gfx1201", "RDNA4"),
    intel("kbl", "Gen9, integrated"),
    intel("tgl", "Xe-LP, integrated"),
    intel("adl", "Xe-LP, integrated"),
    intel("mtl", "Xe-LPG, integrated"),
    intel("dg2", "Xe-HPG"),
    intel("lnl", "Xe2, integrated"),
    intel("bmg", "Xe2"),
    intel("ptl", "Xe3, integrated"),
    nvidia("pascal", "134", "Pascal"),
    nvidia("turing", "164", "Turing"),
    nvidia("tu117", "167", "Turing without matrix units"),
    nvidia("ampere", "174", "Ampere"),
    nvidia("ada", "194", "Ada"),
    nvidia("blackwell", "1b2", "Blackwell"),
]
