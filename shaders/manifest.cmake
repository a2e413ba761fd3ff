kimberlite_module(rms_norm SOURCE rms_norm.comp)
