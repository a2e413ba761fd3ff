// What bench measured, as Markdown, JSON or CSV on stdout.
#pragma once

#include <string>
#include <vector>

#include "apps/common.hpp"
#include "kimberlite/doctor.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {

/// Work of the host while tokens were generated.
struct LoopCounters {
  uint64_t n_steps = 0;
  uint64_t submits = 0;
  uint64_t records = 0;
  uint64_t allocations = 0;
  uint64_t growths = 0;             // of the KV cache, among the allocations
  uint32_t n_dispatches = 0;        // of one step
  uint32_t n_dense_dispatches = 0;  // the most of a layer of either kind; 0: there is none
  uint32_t n_expert_dispatches = 0;
};

struct BenchRow {
  std::string test;  // "pp512", "tg128"
  uint32_t n_tokens = 0;
  std::vector<double> seconds = {};  // one for each repetition, at least one
  double first_token_seconds = 0;
  uint64_t bytes_per_token = 0;  // 0 where a pass has more than one token
  bool is_prompt = false;
  LoopCounters loop = {};

  [[nodiscard]] double mean_rate() const;
  [[nodiscard]] double best_rate() const;
};

struct BenchReport {
  std::string model;
  double copy_bytes_per_second = 0;
  std::vector<MatrixWork> work;  // of one position of a prompt
  Statistics statistics;
  DraftStatistics drafting;
  std::vector<BenchRow> rows;
  std::vector<NodeFigures> nodes;      // of a profiled decode step, slowest first
  std::vector<double> column_seconds;  // of passes over 1, 2, ... columns
  std::vector<PictureTimes> pictures;
};

/// `format`: md, json or csv.
void print_report(const BenchReport& report, const std::string& format);
void print_kernels(const std::vector<KernelCase>& cases, const std::string& format);

}  // namespace kimberlite::cli
