# One line for each SPIR-V module: kimberlite_module(NAME SOURCE file.comp DEFINES A B=1 ...).
# A module that reads wide data has a twin with the suffix _texel (KernelDesc::has_wide_binding).

# norms
kimberlite_module(rms_norm SOURCE rms_norm.comp)
kimberlite_module(rms_norm_workgroup SOURCE rms_norm.comp DEFINES WORKGROUP_ROWS)
kimberlite_module(residual_norm SOURCE residual_norm.comp)
kimberlite_module(residual_norm_workgroup SOURCE residual_norm.comp DEFINES WORKGROUP_ROWS)
kimberlite_module(residual_add SOURCE residual_norm.comp DEFINES ADD_ONLY)
kimberlite_module(residual_add_workgroup SOURCE residual_norm.comp DEFINES ADD_ONLY WORKGROUP_ROWS)
kimberlite_module(residual_plain SOURCE residual_norm.comp DEFINES PLAIN_DELTA)
kimberlite_module(residual_plain_workgroup SOURCE residual_norm.comp
                  DEFINES PLAIN_DELTA WORKGROUP_ROWS)
foreach(part inputs sum)  # of a mixture of experts
  string(TOUPPER EXPERT_${part} define)
  kimberlite_module(residual_expert_${part} SOURCE residual_norm.comp DEFINES ${define})
  kimberlite_module(residual_expert_${part}_workgroup SOURCE residual_norm.comp
                    DEFINES ${define} WORKGROUP_ROWS)
endforeach()
kimberlite_module(layer_norm SOURCE layer_norm.comp)
kimberlite_module(layer_norm_workgroup SOURCE layer_norm.comp DEFINES WORKGROUP_ROWS)

# embeddings of pictures and sounds among those of tokens
kimberlite_module(soft_rows SOURCE soft_rows.comp)

# a picture's patches in an encoder
kimberlite_module(add_rows SOURCE add_rows.comp)
kimberlite_module(rope_2d SOURCE rope_2d.comp)
kimberlite_module(tower_attention SOURCE tower_attention.comp)
kimberlite_module(tower_attention_workgroup SOURCE tower_attention.comp DEFINES WORKGROUP)
kimberlite_module(patch_pool SOURCE patch_pool.comp)

# values between bounds
kimberlite_module(clip SOURCE clip.comp)

# gated activation
kimberlite_module(geglu SOURCE geglu.comp)

# encoder of sounds
kimberlite_module(conv2d SOURCE conv2d.comp)
kimberlite_module(silu SOURCE silu.comp)
kimberlite_module(local_attention SOURCE local_attention.comp)
kimberlite_module(light_conv SOURCE light_conv.comp)
kimberlite_module(light_conv_workgroup SOURCE light_conv.comp DEFINES WORKGROUP_ROWS)

# attention and the KV cache
kimberlite_module(rope_kv SOURCE rope_kv.comp)
kimberlite_module(rope_kv_table SOURCE rope_kv.comp DEFINES WIDE_TABLE)
kimberlite_module(rope_q SOURCE rope_kv.comp DEFINES Q_ONLY)
foreach(load "" "_texel" "_table")
  set(define)
  if(load)
    string(TOUPPER WIDE${load} define)
  endif()
  kimberlite_module(attention${load} SOURCE attention.comp DEFINES ${define})
  kimberlite_module(attention_workgroup${load} SOURCE attention.comp DEFINES WORKGROUP ${define})
  kimberlite_module(attention_split${load} SOURCE attention.comp DEFINES SPLIT ${define})
  kimberlite_module(attention_split_workgroup${load} SOURCE attention.comp
                    DEFINES SPLIT WORKGROUP ${define})
  kimberlite_module(attention_merged${load} SOURCE attention.comp DEFINES SPLIT MERGE ${define})
  kimberlite_module(attention_merged_workgroup${load} SOURCE attention.comp
                    DEFINES SPLIT MERGE WORKGROUP ${define})
endforeach()
kimberlite_module(attention_merge SOURCE attention_merge.comp)

# products of packed matrices, and rows of a packed table; CODED: every other type (coded.h)
foreach(type F32 F16 BF16 Q8_0 Q4_0 Q4_K Q6_K CODED)
  string(TOLOWER ${type} name)
  foreach(texel "" "_texel")
    set(defines TYPE_${type})
    if(texel)
      list(APPEND defines WIDE_TEXEL)
    endif()
    kimberlite_module(matvec_${name}${texel} SOURCE matvec.comp DEFINES ${defines})
    kimberlite_module(matvec_${name}_split${texel} SOURCE matvec.comp DEFINES ${defines} SPLIT_K)
    kimberlite_module(embed_${name}${texel} SOURCE embed.comp DEFINES ${defines})
    if(type MATCHES "^Q4")
      kimberlite_module(embed_${name}_pairs${texel} SOURCE embed.comp DEFINES ${defines} PAIRS)
      kimberlite_module(matvec_${name}_pairs${texel} SOURCE matvec.comp
                        DEFINES ${defines} INT8 PAIRS)
    elseif(type STREQUAL "Q8_0")
      kimberlite_module(embed_${name}_plain${texel} SOURCE embed.comp DEFINES ${defines} PLAIN)
    endif()
    if(type MATCHES "^(Q4|Q8|CODED)")
      kimberlite_module(matvec_${name}_int8${texel} SOURCE matvec.comp DEFINES ${defines} INT8)
      kimberlite_module(matvec_${name}_int8_panel_dot${texel} SOURCE matvec.comp
                        DEFINES ${defines} INT8 HAS_DOT)
      kimberlite_module(matvec_${name}_int8_split_dot${texel} SOURCE matvec.comp
                        DEFINES ${defines} INT8 HAS_DOT SPLIT_K)
    endif()
  endforeach()
endforeach()

# the same with cooperative matrices
foreach(type Q8_0 Q4_0 Q4_K CODED)
  string(TOLOWER ${type} name)
  foreach(texel "" "_texel")
    set(defines TYPE_${type} INT8)
    if(texel)
      list(APPEND defines WIDE_TEXEL)
    endif()
    kimberlite_prebuilt(matmul_${name}_int8${texel} SOURCE matmul.comp DEFINES ${defines})
  endforeach()
endforeach()

# mixture of experts
kimberlite_module(expert_route SOURCE expert_route.comp)
kimberlite_module(expert_tiles SOURCE expert_tiles.comp)
foreach(texel "" "_texel")
  set(define)
  if(texel)
    set(define WIDE_TEXEL)
  endif()
  kimberlite_module(expert_seam${texel} SOURCE expert_seam.comp DEFINES ${define})
  kimberlite_module(expert_seam_workgroup${texel} SOURCE expert_seam.comp
                    DEFINES WORKGROUP_ROWS ${define})
endforeach()

# sparse head of a drafter
kimberlite_module(cluster_logits SOURCE cluster_logits.comp)

kimberlite_module(quant_act SOURCE quant_act.comp)

# sampling
kimberlite_module(sample_prepare SOURCE sample_prepare.comp)
kimberlite_module(sample_histogram SOURCE sample_histogram.comp)
kimberlite_module(sample_bounds SOURCE sample_bounds.comp)
kimberlite_module(sample_gather SOURCE sample_gather.comp)
kimberlite_module(sample_threshold SOURCE sample_threshold.comp)
kimberlite_module(sample_pick SOURCE sample_pick.comp)
kimberlite_module(sample_tokens SOURCE sample_tokens.comp)
kimberlite_module(sample_advance SOURCE sample_advance.comp)
kimberlite_module(sample_draft SOURCE sample_draft.comp)

# the rate of products, measured
kimberlite_module(mac_rate SOURCE mac_rate.comp)
kimberlite_module(mac_rate_pairs SOURCE mac_rate.comp DEFINES PAIRS)
kimberlite_module(mac_rate_int8 SOURCE mac_rate.comp DEFINES INT8)
kimberlite_module(mac_rate_int8_dot SOURCE mac_rate.comp DEFINES INT8 HAS_DOT)
kimberlite_prebuilt(mac_rate_matrix SOURCE mac_rate_matrix.comp)
