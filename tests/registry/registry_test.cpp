#include "kernels/registry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "shaders/modules.hpp"

namespace kimberlite::kernels {
namespace {

TEST(Registry, NamesAreUnique) {
  std::set<std::string> kernels;
  for (const graph::KernelDesc* kernel : all_kernels()) {
    EXPECT_TRUE(kernels.insert(std::string(kernel->name)).second) << kernel->name;
    std::set<std::string_view> variants;
    for (const graph::Variant& variant : kernel->variants) {
      EXPECT_TRUE(variants.insert(variant.name).second) << kernel->name << ":" << variant.name;
    }
  }
}

TEST(Registry, TheLastVariantNeedsNothing) {
  for (const graph::KernelDesc* kernel : all_kernels()) {
    ASSERT_FALSE(kernel->variants.empty()) << kernel->name;
    EXPECT_EQ(kernel->variants.back().fits, nullptr) << kernel->name;
  }
}

// tests/house/check_catalogue.py goes on from the modules' sources to the catalogue.
TEST(Registry, VariantsAndModulesAreInStep) {
  std::set<std::string> used;
  for (const graph::KernelDesc* kernel : all_kernels()) {
    for (const graph::Variant& variant : kernel->variants) {
      const std::string module(variant.module);
      used.insert(module);
      EXPECT_NE(shaders::find_module(module), nullptr) << kernel->name << " needs " << module;
      if (!kernel->has_wide_binding()) continue;
      used.insert(module + "_texel");
      EXPECT_NE(shaders::find_module(module + "_texel"), nullptr)
          << kernel->name << " needs " << module << "_texel";
    }
  }
  for (const shaders::Module& module : shaders::modules()) {
    EXPECT_TRUE(used.contains(std::string(module.name))) << "no variant uses " << module.name;
  }
}

// By the row's name (matvec_q4_0 is in that of matvec), or named in the row of another: `rope_q`.
TEST(Registry, EveryKernelIsInTheCatalogue) {
  std::ifstream file(KIMBERLITE_SOURCE_DIR "/shaders/README.md");
  ASSERT_TRUE(file.is_open());
  const std::regex row(R"(^\|\s*`?([a-z]\w*)`?\s*\|.*)");
  std::vector<std::string> names;
  std::string text;
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    names.push_back(match[1]);
    text += line;
  }
  for (const graph::KernelDesc* kernel : all_kernels()) {
    const std::string name(kernel->name);
    const bool has_row = std::any_of(names.begin(), names.end(), [&](const std::string& known) {
      return name == known || name.starts_with(known + "_");
    });
    const bool is_named = text.find("`" + name + "`") != std::string::npos ||
                          text.find("`" + name + ".comp`") != std::string::npos;
    EXPECT_TRUE(has_row || is_named) << name;
  }
}

/// Results of OpFAdd, OpFSub and OpFMul without the decoration NoContraction.
std::vector<size_t> contractible(const shaders::Module& module, size_t& n_checked) {
  constexpr uint32_t kDecorate = 71;
  constexpr uint32_t kNoContraction = 42;
  std::vector<bool> decorated(module.words[3]);
  std::vector<size_t> found;
  for (size_t i = 5; i < module.words.size(); i += module.words[i] >> 16) {
    const uint32_t op = module.words[i] & 0xffff;
    if (op == kDecorate && module.words[i + 2] == kNoContraction) {
      decorated[module.words[i + 1]] = true;
    }
    if (op != 129 && op != 131 && op != 133) continue;  // FAdd, FSub, FMul
    ++n_checked;
    if (!decorated[module.words[i + 2]]) found.push_back(i);
  }
  return found;
}

/// Modules in which a driver may fuse: every value is a few products of one element (embed), or of
/// one pair of a head (rope), nothing is summed over a row without `precise`, and the pipeline is
/// the same for every number of columns, so that what is fused for one is fused for all.
bool may_contract(std::string_view module) {
  return module.starts_with("embed_") || module.starts_with("rope_");
}

// A driver may turn a * b + c into a fused product where a module does not forbid it, and may do so
// in one tile shape and not in another: a column would then differ by its company.
TEST(Registry, NoOtherModuleAllowsContraction) {
  size_t n_checked = 0;
  for (const shaders::Module& module : shaders::modules()) {
    if (may_contract(module.name)) continue;
    const std::vector<size_t> found = contractible(module, n_checked);
    EXPECT_TRUE(found.empty()) << module.name << ": " << found.size()
                               << " operations, the first at word " << found.front();
  }
  EXPECT_GT(n_checked, 500u);
}

}  // namespace
}  // namespace kimberlite::kernels
