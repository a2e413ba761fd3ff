// kimberlite-dry-run: an engine on a device that compiles and records but executes nothing. Opens a
// model, records and submits every pass of a session, and prints as JSON what was planned and what
// the driver's compiler made of each pipeline. See tools/driver-lab/README.md.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/media_embedder.hpp"
#include "runtime/session.hpp"
#include "vk/pipeline_statistics.hpp"

namespace kimberlite {
namespace {

using Json = nlohmann::ordered_json;
using runtime::PassEnd;
using runtime::PassKey;

struct Options {
  std::string model;
  std::string drafter;
  std::string projector;
  std::string listings;  // a folder for the compiler's listings; "" = none
  kernels::KvType kv_type = kernels::KvType::f16;
  uint32_t context = 8192;
  bool precise = false;
};

struct NamedPass {
  std::string name;
  PassKey key;
};

/// What a session of this engine may ever replay, but for prefill sizes between the smallest and
/// the largest, which have the same pipelines.
std::vector<NamedPass> list_passes(const runtime::Engine& engine) {
  std::vector<NamedPass> passes{
      {"step", {PassEnd::step, 1}},
      {"step, masked", {.end = PassEnd::step, .n_columns = 1, .masked = true}}};
  for (uint32_t n = 1; n <= kernels::kMaxDecodeColumns; ++n) {
    passes.push_back({fmt::format("logits of {}", n), {PassEnd::logits, n}});
  }
  for (uint32_t rows = runtime::kMinPrefillRows; rows <= runtime::kMaxPrefillRows; rows *= 2) {
    passes.push_back({fmt::format("prefill of {}", rows), {PassEnd::cache, rows}});
    if (engine.projector() == nullptr) continue;
    PassKey soft{PassEnd::cache, rows};
    soft.soft = true;
    passes.push_back({fmt::format("prefill of {} with pictures", rows), soft});
  }
  if (engine.drafter() == nullptr) return passes;
  for (uint32_t n = 2; n <= kMaxDrafts + 1; ++n) {
    passes.push_back({fmt::format("draft {}", n - 1), {PassEnd::draft, n}});
    passes.push_back({fmt::format("verify {}", n), {PassEnd::verify, n}});
    passes.push_back({fmt::format("accept {}", n), {PassEnd::accept, n}});
    passes.push_back({fmt::format("accept {}, masked", n),
                      {.end = PassEnd::accept, .n_columns = n, .masked = true}});
  }
  return passes;
}

Result<Json> run_passes(runtime::Engine& engine, runtime::Session& session) {
  KL_TRY(session.make_masks());
  KL_TRY(session.sync(std::vector<int32_t>{2, 3, 4}, {}));
  Json rows = Json::array();
  for (const NamedPass& pass : list_passes(engine)) {
    KL_ASSIGN(const graph::Executable* executable, session.passes().get(pass.key));
    KL_ASSIGN(const uint64_t value, engine.device().submit(executable->parts()));
    KL_TRY(engine.device().wait(value));
    rows.push_back({{"name", pass.name},
                    {"n_dispatches", executable->n_dispatches()},
                    {"n_barriers", executable->n_barriers()},
                    {"bytes_touched", executable->bytes_touched()}});
  }
  return rows;
}

/// A small picture and a second of sound, where the projector takes them.
Status embed_media(runtime::Engine& engine) {
  const runtime::Projector* projector = engine.projector();
  if (projector == nullptr) return {};
  if (const auto& vision = projector->config().vision) {
    const uint32_t side = vision->tower ? 4 * 3 : 4;  // patches; a tower pools 3 x 3
    const std::vector<float> patches(uint64_t{side} * side * vision->n_values());
    KL_TRY(engine.media().embed_picture(side, side, patches));
  }
  if (const auto& audio = projector->config().audio) {
    const uint32_t n_values =
        audio->conformer ? model::ConformerConfig::kMelBins : audio->n_samples;
    KL_TRY(engine.media().embed_sound(std::vector<float>(uint64_t{100} * n_values)));
  }
  return {};
}

std::string memory_type_text(const vk::Device& device, vk::MemoryKind kind) {
  const uint32_t type = device.plan().memory_types[static_cast<size_t>(kind)].front();
  const vk::MemoryTypeFacts& facts = device.snapshot().memory_types[type];
  std::string text = facts.device_local ? "device-local" : "host";
  if (facts.host_visible) text += facts.host_cached ? ", mapped, cached" : ", mapped";
  return text;
}

Json plan_json(const runtime::Engine& engine) {
  const vk::Device& device = engine.device();
  const vk::Caps& caps = device.caps();
  const vk::Device::Counters counters = device.counters();
  return {{"subgroup_size", caps.subgroup_size},
          {"required_subgroup_size", device.plan().require_subgroup_size},
          {"int8_dot", caps.has_int8_dot},
          {"wide_load", caps.wide_load == vk::WideLoad::texel ? "texel" : "storage"},
          {"unified_memory", caps.unified_memory},
          {"weights_in", memory_type_text(device, vk::MemoryKind::device)},
          {"n_compute_units", caps.n_compute_units},
          {"kv_segment_rows", engine.kv_segment_rows()},
          {"n_gpu_layers", engine.memory().n_gpu_layers},
          {"usable_bytes", engine.memory().usable_bytes},
          {"weight_bytes", engine.memory().device_weight_bytes},
          {"allocated_bytes", counters.allocated_bytes},
          {"allocations", counters.allocations},
          {"records", counters.records},
          {"submits", counters.submits}};
}

Status write_listings(const std::string& stem, const vk::PipelineStatistics& statistics) {
  for (const auto& [name, text] : statistics.listings) {
    std::string file = fmt::format("{}.{}.txt", stem, name);
    std::ranges::replace(file, ' ', '_');
    std::ofstream out(file, std::ios::binary);
    out << text;
    if (!out) return Error{ErrorCode::io, file + ": cannot write"};
  }
  return {};
}

Result<Json> pipelines_json(const runtime::Engine& engine, const std::string& listings) {
  Json rows = Json::array();
  Status status;
  engine.pipelines().each([&](const vk::PipelineSpec& spec, const vk::Pipeline& pipeline) {
    if (!status.ok()) return;
    auto statistics = vk::read_statistics(engine.device(), pipeline);
    if (!statistics.ok()) {
      status = statistics.error();
      return;
    }
    if (!listings.empty()) {
      status = write_listings(fmt::format("{}/{:04}", listings, rows.size()), *statistics);
    }
    rows.push_back({{"name", spec.name},
                    {"constants", spec.constants},
                    {"seconds", pipeline.seconds},
                    {"subgroup_size", statistics->subgroup_size},
                    {"statistics", statistics->values}});
  });
  KL_TRY(std::move(status));
  return rows;
}

Result<Json> dry_run(const Options& options) {
  runtime::EngineOptions open;
  open.dry = true;
  open.probe = false;  // nothing is executed, so nothing would be right
  open.cache_dir = "none";
  open.precise = options.precise;
  open.draft = !options.drafter.empty();
  open.draft_model = options.drafter;
  open.media = !options.projector.empty();
  open.projector = options.projector;
  KL_ASSIGN(auto engine, runtime::Engine::open(options.model, open));
  KL_ASSIGN(auto session, runtime::Session::make(*engine, options.context, options.kv_type));
  KL_ASSIGN(Json passes, run_passes(*engine, *session));
  KL_TRY(embed_media(*engine));
  const vk::DeviceSnapshot& snapshot = engine->device().snapshot();
  KL_ASSIGN(Json pipelines, pipelines_json(*engine, options.listings));
  return Json{{"device", snapshot.name},
              {"type", vk::device_type_text(snapshot.type)},
              {"driver", fmt::format("{} {}", snapshot.driver_name, snapshot.driver_info)},
              {"plan", plan_json(*engine)},
              {"passes", std::move(passes)},
              {"pipelines", std::move(pipelines)}};
}

}  // namespace
}  // namespace kimberlite

int main(int argc, char** argv) {
  kimberlite::Options options;
  CLI::App app("Opens a model, records and submits every pass, prints what the compiler says.");
  app.add_option("MODEL.gguf", options.model, "may be hollow")->required();
  app.add_option("--drafter", options.drafter, "that drafts for it");
  app.add_option("--mmproj", options.projector, "that sees and hears for it");
  app.add_option("--listings", options.listings, "a folder for the compiler's listings");
  using kimberlite::kernels::KvType;
  app.add_option("--kv-type", options.kv_type, "f32, f16 (default), q8_0")
      ->transform(CLI::CheckedTransformer(std::map<std::string, KvType>{
          {"f32", KvType::f32}, {"f16", KvType::f16}, {"q8_0", KvType::q8_0}}));
  app.add_option("--context", options.context, "positions")->capture_default_str();
  app.add_flag("--precise", options.precise, "float32 activations");
  CLI11_PARSE(app, argc, argv);
  const auto report = kimberlite::dry_run(options);
  if (!report.ok()) {
    fmt::print(stderr, "kimberlite-dry-run: {}\n", report.error().message);
    return 1;
  }
  fmt::print("{}\n", report->dump(1));
  return 0;
}
