# One line for each SPIR-V module: kimberlite_module(NAME SOURCE file.comp DEFINES A B=1 ...).
# A module that reads wide data has a twin with the suffix _texel (KernelDesc::has_wide_binding).

# norms
kimberlite_module(rms_norm SOURCE rms_norm.comp)
kimberlite_module(rms_norm_workgroup SOURCE rms_norm.comp DEFINES WORKGROUP_ROWS)
kimberlite_module(residual_norm SOURCE residual_norm.comp)
kimberlite_module(residual_norm_workgroup SOURCE residual_norm.comp DEFINES WORKGROUP_ROWS)
