"""What the three drivers call their figures, as one row."""


def row(vendor, pipeline):
    """registers, spills, instructions, cycles (of the vendor's own model), occupancy."""
    values = pipeline["statistics"]
    if vendor == "amd":
        figures = {
            "registers": values["VGPRs"],
            "spills": values["Spilled VGPRs"],
            "spilled_scalars": values["Spilled SGPRs"],  # to lanes of vector registers
            "scratch": values["Scratch size"],
            "instructions": values["Instructions"],
            "cycles": values["Inverse Throughput"],
            "occupancy": values["Subgroups per SIMD"],
        }
    elif vendor == "intel":
        figures = {
            "registers": values["Max live registers"],
            "spills": values["Spills"] + values["Fills"],
            "spilled_scalars": 0,
            "scratch": values["Scratch Memory Size"],
            "instructions": values["Instructions"],
            "cycles": values["Cycles"],
            "occupancy": values["Max dispatch width"],
        }
    else:
        figures = {
            "registers": values["Number of GPRs"],
            "spills": values["Spills to memory"],
            "spilled_scalars": 0,
            "scratch": values["SLM size"],
            "instructions": values["Instruction count"],
            "cycles": values["Static cycle count"],
            "occupancy": values["Max warps/SM"],
        }
    figures["seconds"] = round(pipeline["seconds"], 3)
    figures["subgroup_size"] = pipeline["subgroup_size"]
    return figures
