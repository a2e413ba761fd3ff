"""The virtual GPUs of the lab: which driver, shim and variable stand for which."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Device:
    name: str
    vendor: str  # amd, intel, nvidia
    generation: str
    driver: str  # X of X_icd.json
    variable: str  # selects the device, as VARIABLE=value
    shim: str  # preloaded: pretends that the kernel has such a device
    int8_dot: bool = True  # what the plan must find

    @property
    def subgroup_size(self):
        """What the plan must choose: GCN has waves of 64 alone."""
        if self.vendor == "intel":
            return 16
        return 64 if self.generation.startswith("GCN") else 32

    def wrong_choices(self, plan):
        """What the plan has chosen and should not have."""
        expected = {"subgroup_size": self.subgroup_size, "int8_dot": self.int8_dot,
                    "unified_memory": "integrated" in self.generation, "wide_load": "storage",
                    "kv_segment_rows": 4096}
        return [f"{key} is {plan[key]}, expected {value}" for key, value in expected.items()
                if plan[key] != value]

    def environment(self):
        return [f"LD_PRELOAD={self.shim}", self.variable, "MESA_SHADER_CACHE_DISABLE=true",
                f"VK_DRIVER_FILES=/usr/share/vulkan/icd.d/{self.driver}_icd.json"]


def amd(gpu, generation, int8_dot=True):
    return Device(gpu, "amd", generation, "radeon", f"AMDGPU_GPU_ID={gpu}",
                  "libamdgpu_noop_drm_shim.so", int8_dot)


def intel(platform, generation, int8_dot=True):
    return Device(platform, "intel", generation, "intel", f"INTEL_STUB_GPU_PLATFORM={platform}",
                  "libintel_noop_drm_shim.so", int8_dot)


def nvidia(name, chipset, generation, int8_dot=True):
    return Device(name, "nvidia", generation, "nouveau", f"NOUVEAU_CHIPSET={chipset}",
                  "libnouveau_noop_drm_shim.so", int8_dot)


DEVICES = [
    amd("polaris10", "GCN4", int8_dot=False),
    amd("vega10", "GCN5", int8_dot=False),
    amd("renoir", "GCN5, integrated", int8_dot=False),
    amd("navi10", "RDNA1", int8_dot=False),
    amd("navi21", "RDNA2"),
    amd("rembrandt", "RDNA2, integrated"),
    amd("navi31", "RDNA3"),
    amd("phoenix", "RDNA3, integrated"),
    amd("strix1", "RDNA3.5, integrated"),
    amd("gfx1201", "RDNA4"),
    intel("kbl", "Gen9, integrated", int8_dot=False),
    intel("tgl", "Xe-LP, integrated"),
    intel("adl", "Xe-LP, integrated"),
    intel("mtl", "Xe-LPG, integrated"),
    intel("dg2", "Xe-HPG"),
    intel("lnl", "Xe2, integrated"),
    intel("bmg", "Xe2"),
    intel("ptl", "Xe3, integrated"),
    nvidia("pascal", "134", "Pascal", int8_dot=False),
    nvidia("turing", "164", "Turing"),
    nvidia("tu117", "167", "Turing without matrix units"),
    nvidia("ampere", "174", "Ampere"),
    nvidia("ada", "194", "Ada"),
    nvidia("blackwell", "1b2", "Blackwell"),
]
BY_NAME = {device.name: device for device in DEVICES}
