// Looking at devices and files, converting, measuring: what the command line needs beyond
// kimberlite.hpp. Errors travel as Result; nothing here prints.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kimberlite/kimberlite.hpp"

namespace kimberlite {

struct DeviceInfo {
  uint32_t index = 0;
  std::string name;
  std::string type;    // "discrete", "integrated", "virtual", "cpu", "other"
  std::string driver;  // name and version
  std::string uuid;
  uint64_t memory_bytes = 0;  // that weights and caches may use
  bool usable = false;
  std::string reason;   // why it is not usable, or empty
  bool chosen = false;  // the one that Model::open would take
};

/// Every Vulkan device. Errors: no_device without a Vulkan loader or any device.
Result<std::vector<DeviceInfo>> list_devices(std::string_view selector = "");
/// The full snapshots as JSON: what to attach to a report, and a test input of the device policy.
Result<std::string> device_snapshots_json();

struct TensorSummary {
  std::string name;
  std::string type;
  std::vector<uint64_t> shape;  // slowest axis first: [out, in]
  uint64_t n_bytes = 0;
};

struct MetadataEntry {
  std::string key;
  std::string type;   // "u32", "string", "f32[262144]"
  std::string value;  // long arrays and texts are cut
};

struct FileInfo {
  std::string path;
  std::string architecture;
  std::string name;
  std::string description;  // whatever the file says of itself, or empty
  uint64_t n_bytes = 0;     // of the tensors
  uint64_t n_parameters = 0;
  uint32_t n_shards = 1;
  std::vector<MetadataEntry> metadata;
  std::vector<TensorSummary> tensors;
  std::string unsupported;  // why Model::open would refuse it, or empty
  std::string drafter;      // the file beside it that Model::open would draft with, or empty:
  std::string no_drafter;   // why there is none
};

/// Reads a GGUF file's metadata and tensor table. Errors: io, bad_file.
Result<FileInfo> inspect_file(const std::string& path);

/// Pebble, the demonstration model that comes with the program: a file beside it, or in
/// ../share/kimberlite. Errors: io, naming both places.
Result<std::string> find_demonstration_model();

struct ConvertFileOptions {
  std::string type = "bf16";  // f32, f16, bf16, q8_0, q4_0
  std::string name;           // general.name; empty: the folder's
  std::string description;    // general.description; empty: none
  bool mmproj = false;        // the projector of pictures and sounds, not the text model
  bool overwrite = false;
  Progress progress;
  std::function<bool()> cancelled;  // asked now and then; true stops, and leaves no file
};

/// Hugging Face folder of a model or a drafter to GGUF. Returns notes for the user, one a line.
/// Errors: io, bad_file, unsupported, invalid_argument, cancelled; no half file is left.
Result<std::vector<std::string>> convert_file(const std::string& folder, const std::string& out,
                                              const ConvertFileOptions& options);

/// A tokenizer alone, without a device.
class Vocabulary {
 public:
  static Result<std::unique_ptr<Vocabulary>> open(const std::string& path);
  ~Vocabulary();
  [[nodiscard]] Result<std::vector<int32_t>> encode(std::string_view text, bool add_bos,
                                                    bool parse_special) const;
  [[nodiscard]] std::string decode(std::span<const int32_t> tokens) const;
  /// As the file spells it; empty for ids outside the vocabulary.
  [[nodiscard]] std::string piece(int32_t token) const;
  [[nodiscard]] uint32_t size() const;

 private:
  struct State;
  explicit Vocabulary(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Promises of the token loop, and sizes, as numbers.
struct Statistics {
  uint64_t submits = 0;       // queue submissions since the model was opened
  uint64_t records = 0;       // command buffers recorded
  uint64_t allocations = 0;   // device allocations made
  uint64_t growths = 0;       // segments added to KV caches, among the allocations
  uint64_t device_bytes = 0;  // held now
  uint64_t peak_device_bytes = 0;
  uint64_t peak_host_bytes = 0;  // resident set of the process
  uint64_t weight_bytes = 0;
  uint64_t host_weight_bytes = 0;  // weights that did not fit the GPU
  uint64_t table_bytes = 0;        // per-layer embeddings (E2B, E4B), in host-visible memory
  uint32_t n_gpu_layers = 0;
  uint32_t n_layers = 0;
  uint64_t n_parameters = 0;
  uint32_t n_pipelines = 0;
  double pipeline_seconds = 0;  // spent in the driver making pipelines
  double load_seconds = 0;
  std::string device_name;
  std::string device_driver;
  std::string device_reason;  // why this device was taken
  std::vector<std::string>
      warnings;  // kernels that this driver gets wrong, and what is used instead
};
Statistics statistics(const Model& model);
/// What the validation layer said so far; empty where ModelOptions::validation is off.
std::vector<std::string> validation_messages(const Model& model);

/// One timed pass of a kind, for bench: bytes that the kernels read and wrote.
struct PassFigures {
  uint32_t n_dispatches = 0;
  uint32_t n_dense_dispatches = 0;   // the most of a layer without experts; 0: there is none
  uint32_t n_expert_dispatches = 0;  // the most of a layer with experts; 0: there is none
  uint32_t n_barriers = 0;
  uint64_t bytes_touched = 0;
};
/// Of the decode step with one column. Errors: device, out_of_memory.
Result<PassFigures> decode_figures(Session& session);

/// Nodes of the last profiled decode step, slowest first. Errors: unsupported where the queue has
/// no timestamps.
struct NodeFigures {
  std::string label;
  std::string kernel;
  double microseconds = 0;
  uint64_t bytes_touched = 0;
};
Result<std::vector<NodeFigures>> profile_decode(Session& session);

/// Seconds of a pass over 1, 2, ... 8 columns, the pending token and up to seven drafts: what it
/// costs to verify them. The shortest of `n_runs`, taken in turns. The session's tokens stay.
Result<std::vector<double>> time_columns(Session& session, uint32_t n_runs);

/// What it costs to look at a picture: its patches to embeddings, and those through the model.
struct PictureTimes {
  uint32_t n_tokens = 0;
  double projection_seconds = 0;
  double prefill_seconds = 0;
};
/// Of a picture of noise that takes `n_tokens`, as square as they allow: the shortest of `n_runs`
/// after one to warm up. The session stands for it afterwards. Errors: unsupported (no vision),
/// invalid_argument (no such size), context_full, out_of_memory, cancelled, device.
Result<PictureTimes> time_picture(Session& session, uint32_t n_tokens, uint32_t n_runs);

/// Bytes per second of a large device-to-device copy, read and write counted, best of several.
Result<double> measure_copy_bandwidth(Model& model);

/// What a generation would cost if each draft were right with the probability `share`, above 0 to
/// 1, by a hash of its position: for drafters of random weights. The tokens are worthless.
Result<GenerateResult> generate_agreeing(Session& session, const GenerateOptions& options,
                                         double share);

/// Calls `on_row` with the logits (float32 [n_vocab], soft-capped) at every position of `tokens`,
/// in order. The session stands for `tokens` afterwards. Errors: as Session::sync.
Status evaluate(Session& session, std::span<const int32_t> tokens,
                const std::function<void(uint32_t position, std::span<const float>)>& on_row);

/// A kernel benchmark case.
struct KernelCase {
  std::string kernel;
  std::string variant;
  std::string name;
  double microseconds = 0;  // best of several replays
  uint64_t bytes_touched = 0;
  uint64_t flops = 0;
};
/// Runs the benchmark table of one kernel ("" = all) on the chosen device. Errors:
/// invalid_argument (an unknown kernel: lists the known ones), no_device, device.
Result<std::vector<KernelCase>> bench_kernels(const std::string& kernel,
                                              const ModelOptions& options);

}  // namespace kimberlite
