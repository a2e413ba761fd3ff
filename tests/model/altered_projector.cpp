#include "altered_projector.hpp"

#include <filesystem>
#include <span>

#include "media_fixture.hpp"
#include "model/projector_weights.hpp"

namespace kimberlite::testing {

Change with_u32(const std::string& key, uint32_t value) {
  return {.keys = [=](formats::GgufWriter& writer) { writer.set_u32("clip." + key, value); }};
}
Change with_text(const std::string& key, const std::string& value) {
  return {.keys = [=](formats::GgufWriter& writer) { writer.set_string(key, value); }};
}
Change with_flag(const std::string& key, bool value) {
  return {.keys = [=](formats::GgufWriter& writer) { writer.set_bool("clip." + key, value); }};
}

AlteredProjector::AlteredProjector(const Change& change, std::string_view shape) {
  const std::string path = write_tiny_projector(1, formats::GgmlType::f16, shape);
  write(require_value(formats::GgufFile::open(path)), change);
  std::filesystem::remove(path);
}

formats::GgufFile AlteredProjector::file() const {
  return require_value(formats::GgufFile::parse(bytes_));
}

std::string AlteredProjector::error() const {
  const formats::GgufFile file = this->file();
  const auto config = model::read_projector_config(file);
  if (!config.ok()) return config.error().message;
  const auto plan = model::ProjectorWeights::plan(file, *config, vk::Caps{}, {});
  return plan.ok() ? "" : plan.error().message;
}

void AlteredProjector::write(const formats::GgufFile& file, const Change& change) {
  formats::GgufWriter writer;
  for (const formats::GgufEntry& entry : file.entries()) {
    if (entry.key != change.dropped_key) writer.set_value(std::string(entry.key), entry.value);
  }
  if (change.keys) change.keys(writer);
  std::vector<std::span<const std::byte>> tensors;
  for (const formats::TensorInfo& tensor : file.tensors()) {
    if (tensor.name == change.dropped_tensor || change.vectors.contains(std::string(tensor.name)))
      continue;
    require_ok(
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.ne).first(tensor.n_dims)));
    tensors.push_back(tensor.data);
  }
  for (const auto& [name, values] : change.vectors) {
    const uint64_t ne[] = {values.size()};
    require_ok(writer.add_tensor(name, formats::GgmlType::f32, ne));
    tensors.push_back(std::as_bytes(std::span(values)));
  }
  require_ok(writer.write_to(
      [&](std::span<const std::byte> part) -> Status {
        bytes_.insert(bytes_.end(), part.begin(), part.end());
        return {};
      },
      [&](size_t index, const formats::ByteSink& sink) { return sink(tensors[index]); }));
}

}  // namespace kimberlite::testing
