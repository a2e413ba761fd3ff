#include "support/checkpoint_folder.hpp"

#include <fstream>

namespace kimberlite::testing {
namespace {

Status write_file(const std::string& path, const std::string& contents) {
  std::ofstream file(path, std::ios::binary);
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.close();
  if (file.fail()) return Error{ErrorCode::io, path + ": cannot be written"};
  return {};
}

}  // namespace

void CheckpointFolder::add(const std::string& name, const std::vector<uint64_t>& shape,
                           const std::vector<float>& values) {
  const size_t begin = data_.size();
  data_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
}

Status CheckpointFolder::write(const nlohmann::json& config, const std::string& folder) const {
  KL_TRY(write_file(folder + "/config.json", config.dump()));
  const std::string text = header_.dump();
  const uint64_t n = text.size();
  return write_file(folder + "/model.safetensors",
                    std::string(reinterpret_cast<const char*>(&n), sizeof(n)) + text + data_);
}

}  // namespace kimberlite::testing
