// kimberlite/tools.hpp and quantize.hpp: conversion into GGUF files, quantisation of them, and a
// look at every weight.
#include <fmt/format.h>

#include <algorithm>

#include "formats/convert.hpp"
#include "formats/gguf.hpp"
#include "formats/quantize_file.hpp"
#include "formats/verify.hpp"
#include "kimberlite/quantize.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite {
namespace {

/// What a layer below reports in bytes, for the user's callbacks; false cancels.
template <typename Options>
std::function<bool(uint64_t, uint64_t)> progress_of(std::string what, const Options& options) {
  return [what = std::move(what), &options](uint64_t done, uint64_t all) {
    if (options.progress) {
      options.progress(what,
                       static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(all, 1)));
    }
    return !options.cancelled || !options.cancelled();
  };
}

}  // namespace

Result<std::vector<std::string>> convert_file(const std::string& folder, const std::string& out,
                                              const ConvertFileOptions& options) {
  const auto type = formats::find_ggml_type(options.type);
  if (!type) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("no tensor type is called {}; convert writes f32, f16, bf16, q8_0 "
                             "and q4_0",
                             options.type)};
  }
  formats::ConvertOptions convert_options;
  convert_options.name = options.name;
  convert_options.description = options.description;
  convert_options.type = *type;
  convert_options.mmproj = options.mmproj;
  convert_options.overwrite = options.overwrite;
  convert_options.progress = progress_of("writing " + out, options);
  KL_ASSIGN(formats::ConvertReport report, formats::convert(folder, out, convert_options));
  report.notes.push_back(fmt::format("{}: {} tensors, {} parameters, {} bytes of {}", out,
                                     report.n_tensors, report.n_parameters, report.n_bytes,
                                     options.type));
  return std::move(report.notes);
}

std::vector<std::string> quantize_types() {
  std::vector<std::string> names;
  for (const formats::Recipe& recipe : formats::recipes()) names.emplace_back(recipe.name);
  return names;
}

bool is_quantize_type(const std::string& name) { return formats::find_recipe(name) != nullptr; }

Result<QuantizeSummary> quantize_file(const std::string& in, const std::string& out,
                                      const QuantizeFileOptions& options) {
  formats::QuantizeOptions quantize_options;
  quantize_options.recipe = formats::find_recipe(options.type);
  if (quantize_options.recipe == nullptr) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("no type is called {}; quantize writes {}", options.type,
                             fmt::join(quantize_types(), ", "))};
  }
  if (!options.embedding_type.empty()) {
    quantize_options.embedding = formats::find_ggml_type(options.embedding_type);
    if (!quantize_options.embedding) {
      return Error{
          ErrorCode::invalid_argument,
          fmt::format("no tensor type is called {}, such as q6_k or q8_0", options.embedding_type)};
    }
  }
  quantize_options.n_threads = options.n_threads;
  quantize_options.overwrite = options.overwrite;
  quantize_options.progress = progress_of("writing " + out, options);
  KL_ASSIGN(formats::QuantizeReport report, formats::quantize(in, out, quantize_options));
  QuantizeSummary summary{report.n_bytes_before, report.n_bytes, {}, std::move(report.notes)};
  for (const auto& [type, total] : report.types) {
    summary.types.push_back(
        {std::string(formats::traits(type).name), total.n_tensors, total.n_bytes});
  }
  return summary;
}

Result<VerifySummary> verify_file(const std::string& path, const VerifyFileOptions& options) {
  KL_ASSIGN(const formats::GgufFile file, formats::GgufFile::open(path));
  KL_ASSIGN(formats::VerifyReport report,
            formats::verify(file, options.n_threads, progress_of("reading " + path, options)));
  VerifySummary summary;
  summary.n_tensors = file.tensors().size();
  summary.n_bytes = report.n_bytes;
  summary.n_bad = report.n_bad;
  for (const size_t i : report.unchecked) {
    summary.unchecked.emplace_back(file.tensors()[i].name);
  }
  for (formats::TensorFindings& findings : report.bad) {
    const formats::TensorInfo& tensor = file.tensors()[findings.tensor];
    BadTensor bad{std::string(tensor.name),
                  std::string(formats::traits(tensor.type).name),
                  tensor.shard,
                  findings.n_bad,
                  {}};
    for (formats::Finding& finding : findings.first) {
      bad.first.push_back({std::move(finding.what), finding.element, finding.offset});
    }
    summary.bad.push_back(std::move(bad));
  }
  return summary;
}

}  // namespace kimberlite
