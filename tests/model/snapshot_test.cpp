// Snapshots of the rings: what they hold, which are kept, and sessions whose history is edited.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/kv_reference.hpp"
#include "model_fixture.hpp"
#include "runtime/ring_snapshot.hpp"
#include "runtime/session.hpp"
#include "support/golden.hpp"
#include "support/gpu.hpp"

namespace kimberlite::testing {
namespace {

using runtime::KvCache;
using runtime::MemoryDemand;
using runtime::RingSnapshots;
using runtime::Session;

constexpr uint32_t kWindow = 100;
constexpr uint32_t kRing = 448;  // 100 + 256 + 64, in whole chunks
constexpr uint32_t kContext = 4096;

/// Two sliding layers and a full one.
model::ModelConfig small_config() {
  using enum model::LayerKind;
  model::ModelConfig config = config_of({sliding, full, sliding}, 256, kContext);
  config.window = kWindow;
  return config;
}

class RingSnapshotsTest : public GpuTest {
 protected:
  /// The rows of all rings after `n_written` positions: a number of layer, K or V, and position.
  void write_rings(uint32_t n_written) {
    for_each_ring([&](kernels::HostCache& rows, const vk::BufferRange& range, float number) {
      for (uint32_t p = n_written > kRing ? n_written - kRing : 0; p < n_written; ++p) {
        const std::vector<float> values(256, number + static_cast<float>(p));
        for (uint32_t head = 0; head < 2; ++head) rows.set(0, p, head, values.data());
      }
      require_ok(vk::write_range(*gpu_.device, range, rows.bytes().data(), range.n_bytes));
    });
  }

  /// Whether the rows that position n sees are as write_rings has left them.
  bool sees_rows(uint32_t n) {
    bool all = true;
    for_each_ring([&](kernels::HostCache& rows, const vk::BufferRange& range, float number) {
      std::vector<std::byte> bytes(range.n_bytes);
      require_ok(vk::read_range(*gpu_.device, range, bytes.data(), bytes.size()));
      rows.assign(bytes);
      for (uint32_t p = n + 1 > kWindow ? n + 1 - kWindow : 0; p < n; ++p) {
        for (uint32_t head = 0; head < 2; ++head) {
          all = all && rows.get(0, p, head, 0) == number + static_cast<float>(p) &&
                rows.get(0, p, head, 255) == number + static_cast<float>(p);
        }
      }
    });
    return all;
  }

  model::ModelConfig config_ = small_config();
  uint64_t slot_bytes_ = runtime::snapshot_bytes(config_, kContext, kernels::KvType::f32);
  KvCache cache_ = require_value(
      KvCache::make(*gpu_.device, config_, {kContext, kernels::KvType::f32, /*segment_rows=*/0}));

 private:
  template <typename Body>
  void for_each_ring(Body body) {
    float number = 0;
    for (const kernels::KvCacheView& layer : cache_.layers()) {
      if (layer.window == 0) continue;
      for (const graph::Tensor* tensor : {&layer.k, &layer.v}) {
        kernels::HostCache rows(layer);
        body(rows, {tensor->buffer, tensor->offset_bytes, tensor->n_bytes}, number += 10000);
      }
    }
  }
};

TEST_F(RingSnapshotsTest, HoldWhatTheWindowSeesAndNoMore) {
  EXPECT_EQ(slot_bytes_, 2 * 2 * 3 * 64 * 2 * 256 * sizeof(float));  // 99 rows touch 3 chunks
  for (const uint32_t n : {64u, 99u, 320u, 447u, 448u, 449u, 540u, 1000u, 1003u}) {
    RingSnapshots snapshots(*gpu_.device, cache_, slot_bytes_);
    write_rings(n);
    require_ok(snapshots.save(n));
    write_rings(n + 300);
    require_ok(vk::write_range(*gpu_.device, {cache_.layers()[0].k.buffer, 0, 64},
                               std::vector<std::byte>(64).data(), 64));
    const uint32_t n_written = require_value(snapshots.restore(n));
    EXPECT_TRUE(sees_rows(n)) << n;
    EXPECT_EQ(cache_.rewind(n, n_written), n);
    // Further back than what was saved there are rows of later positions.
    if (n > 300) {
      EXPECT_EQ(cache_.rewind(n - 64, n_written), 0u) << n;
    }
  }
}

TEST_F(RingSnapshotsTest, TheOldestGivesWay) {
  RingSnapshots snapshots(*gpu_.device, cache_, 2 * slot_bytes_ + slot_bytes_ / 2);
  write_rings(100);
  require_ok(snapshots.save(63));  // as near to nothing as to a snapshot
  EXPECT_EQ(snapshots.size(), 0u);
  require_ok(snapshots.save(100));
  require_ok(snapshots.save(163));  // 100 is near enough
  EXPECT_EQ(snapshots.size(), 1u);
  require_ok(snapshots.save(300));
  require_ok(snapshots.save(200));
  EXPECT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(snapshots.find(1000), 300u);
  EXPECT_EQ(snapshots.find(299), 200u);
  EXPECT_EQ(snapshots.find(199), 0u);
  snapshots.forget_after(299);
  EXPECT_EQ(snapshots.find(1000), 200u);
}

TEST_F(RingSnapshotsTest, WithoutRoomThereAreNone) {
  RingSnapshots none(*gpu_.device, cache_, slot_bytes_ - 1);
  require_ok(none.save(200));
  EXPECT_EQ(none.size(), 0u);
  // Others have taken the memory since it was planned: what is there serves on.
  RingSnapshots one(*gpu_.device, cache_, 4 * slot_bytes_);
  require_ok(one.save(200));
  gpu_.device->limit_memory(gpu_.device->counters().allocated_bytes + 10);
  require_ok(one.save(300));
  gpu_.device->limit_memory(UINT64_MAX);
  EXPECT_EQ(one.size(), 1u);
  EXPECT_EQ(one.find(1000), 300u);
}

TEST(SnapshotBytes, AreNothingWhereNoRingForgets) {
  EXPECT_EQ(runtime::snapshot_bytes(small_config(), kRing, kernels::KvType::f32), 0u);
}

TEST(SnapshotBytes, CountSharedRingsOnce) {
  model::ModelConfig config = small_config();
  const uint64_t of_two = runtime::snapshot_bytes(config, kContext, kernels::KvType::f32);
  config.n_kv_layers = 2;  // the last layer reads the ring of the first
  EXPECT_EQ(runtime::snapshot_bytes(config, kContext, kernels::KvType::f32), of_two / 2);
}

MemoryDemand demand(uint64_t usable_bytes) {
  MemoryDemand needs;
  needs.usable_bytes = usable_bytes;
  needs.layer_bytes = {1000};
  needs.kv_position_bytes = 10;
  needs.snapshot_bytes = 700;
  needs.max_context = 4096;
  return needs;
}

TEST(SnapshotBudget, IsWholeSnapshotsOfWhatIsLeft) {
  MemoryDemand needs = demand(100000);  // 92000 to plan with; 41960 for the longest context
  EXPECT_EQ(runtime::snapshot_budget(needs, 1, 4096), 50040u / 700 * 700);
  needs.snapshot_bytes = uint64_t{1} << 29;
  EXPECT_EQ(runtime::snapshot_budget(needs, 1, 4096), 0u);
  needs.usable_bytes = uint64_t{1} << 40;
  EXPECT_EQ(runtime::snapshot_budget(needs, 1, 4096), uint64_t{1} << 30);
  needs.snapshot_bytes = 0;
  EXPECT_EQ(runtime::snapshot_budget(needs, 1, 4096), 0u);
}

TEST(SnapshotBudget, IsKeptWhereTheContextIsPicked) {
  const MemoryDemand needs = demand(30000);  // 27600 to plan with, 26600 beside the weights
  EXPECT_EQ(require_value(runtime::largest_context(needs, 1)), 2560u);  // 2660
  EXPECT_EQ(require_value(runtime::pick_context(needs, 1)), 2304u);     // 26600 - 4 * 700
  EXPECT_EQ(runtime::snapshot_budget(needs, 1, 2304), 3560u / 700 * 700);
  // An eighth that holds no snapshot is not kept back.
  MemoryDemand large = needs;
  large.snapshot_bytes = 26600 / 8 + 1;
  EXPECT_EQ(require_value(runtime::pick_context(large, 1)), 2560u);
}

/// Turns of a chat so long that a ring forgets the last but one: a window of the tiny model is 64,
/// a ring holds 384 positions. Prompts are long and answers short, as SwiftShader takes them.
class EditTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const Golden golden = require_value(Golden::load("tiny12"));
    runtime::EngineOptions options;
    options.precise = true;
    model_ = new TinyModel("tiny12", golden.seed, formats::GgmlType::f32, options);
  }
  static void TearDownTestSuite() { delete model_; }

  static constexpr uint32_t kAnswer = 70;

  static std::vector<int32_t> words(size_t n, int32_t seed) {
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < n; ++i) {
      tokens.push_back(5 + (static_cast<int32_t>(i) * 7 + seed * 31) % 500);
    }
    return tokens;
  }
  static std::vector<int32_t> join(std::span<const int32_t> a, std::span<const int32_t> b) {
    std::vector<int32_t> tokens(a.begin(), a.end());
    tokens.insert(tokens.end(), b.begin(), b.end());
    return tokens;
  }
  static std::unique_ptr<Session> make() {
    return require_value(Session::make(model_->engine(), 2048, std::nullopt));
  }
  static std::vector<int32_t> answer(Session& session, uint32_t n) {
    return require_value(session.generate(greedy(n), {})).tokens;
  }
  /// Three turns of prompt and answer; returns the tokens after each answer.
  static std::vector<std::vector<int32_t>> chat(Session& session) {
    std::vector<std::vector<int32_t>> after;
    std::vector<int32_t> tokens;
    for (int32_t turn = 0; turn < 3; ++turn) {
      tokens = join(tokens, words(300, turn));
      require_value(session.sync(tokens, {}));
      answer(session, kAnswer);
      tokens = session.tokens();
      after.push_back(tokens);
    }
    return after;
  }
  /// Syncs the session to `tokens`, of which `n_reused` are kept; it then answers like a new one.
  static void expect_edit(Session& session, const std::vector<int32_t>& tokens, uint32_t n_reused) {
    const auto counts = require_value(session.sync(tokens, {}));
    EXPECT_EQ(counts.reused, n_reused);
    EXPECT_EQ(counts.reused + counts.recomputed, tokens.size() - 1);
    const auto fresh = make();
    require_value(fresh->sync(tokens, {}));
    EXPECT_EQ(answer(session, 24), answer(*fresh, 24));
  }

  static inline TinyModel* model_ = nullptr;
};

TEST_F(EditTest, TurnsAreEditedOneAfterAnother) {
  const auto session = make();
  const auto after = chat(*session);
  const auto last = [](const std::vector<int32_t>& tokens) {
    return static_cast<uint32_t>(tokens.size()) - 1;
  };
  {
    SCOPED_TRACE("the last answer is generated again");
    const std::vector<int32_t> prompt(after[2].begin(), after[2].end() - kAnswer);
    expect_edit(*session, prompt, last(prompt));
  }
  const std::vector<int32_t> second(after[1].begin(), after[1].end() - kAnswer);
  {
    SCOPED_TRACE("so is the one before");
    expect_edit(*session, second, last(second));
  }
  {
    // Just below what was restored there are rows of later positions: the end of the first answer
    // is next, whose last token is pending.
    SCOPED_TRACE("the second prompt is edited");
    const std::vector<int32_t> shorter(second.begin(), second.end() - 40);
    expect_edit(*session, join(shorter, words(20, 9)), last(after[0]));
  }
  {
    SCOPED_TRACE("the chat goes on");
    expect_edit(*session, join(session->tokens(), words(20, 10)), last(session->tokens()));
  }
  {
    SCOPED_TRACE("the middle of the first prompt is edited, from which nothing was kept");
    expect_edit(*session, join(words(50, 0), words(90, 8)), 0);
  }
}

TEST_F(EditTest, AThoughtIsDropped) {
  const auto session = make();
  const std::vector<int32_t> prompt = words(200, 3);
  require_value(session->sync(prompt, {}));
  const std::vector<int32_t> out = answer(*session, 420);  // 350 tokens of thought, then the answer
  const auto spoken = std::span(out).subspan(350);
  ASSERT_NE(spoken[0], out[0]);
  expect_edit(*session, join(join(prompt, spoken), words(30, 4)), 199);
}

}  // namespace
}  // namespace kimberlite::testing
