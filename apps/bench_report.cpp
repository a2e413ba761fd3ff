#include "apps/bench_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "apps/drafting.hpp"
#include "kimberlite/console.hpp"

namespace kimberlite::cli {
namespace {

double gigabytes_per_second(const BenchRow& row) {
  return row.best_rate() * static_cast<double>(row.bytes_per_token) * 1e-9;
}

double share_of_copy(const BenchReport& report, const BenchRow& row) {
  return rate(gigabytes_per_second(row) * 1e9, report.copy_bytes_per_second);
}

/// Multiply-accumulates with weights, for each position of a prompt.
double gmacs_per_second(const BenchReport& report, const BenchRow& row) {
  double macs = 0;
  for (const MatrixWork& work : report.work) macs += static_cast<double>(work.macs);
  return row.best_rate() * macs * 1e-9;
}

/// The time that they would take at the measured rate of their arithmetic, of the time taken.
double share_of_matrix_rate(const BenchReport& report, const BenchRow& row) {
  double seconds = 0;
  for (const MatrixWork& work : report.work) {
    seconds += rate(static_cast<double>(work.macs), work.rate.macs_per_second);
  }
  return row.best_rate() * seconds;
}

double per_step(uint64_t n, const LoopCounters& loop) {
  return rate(static_cast<double>(n), static_cast<double>(loop.n_steps));
}

/// The token loop of the last test that generated.
LoopCounters last_loop(const BenchReport& report) {
  LoopCounters loop;
  for (const BenchRow& row : report.rows) {
    if (row.loop.n_steps > 0) loop = row.loop;
  }
  return loop;
}

Json row_json(const BenchReport& report, const BenchRow& row) {
  Json json = {{"test", row.test},
               {"tokens_per_second", row.mean_rate()},
               {"best_tokens_per_second", row.best_rate()},
               {"first_token_seconds", row.first_token_seconds},
               {"seconds", row.seconds}};
  if (row.bytes_per_token > 0) {
    json["bytes_per_token"] = row.bytes_per_token;
    json["gb_per_second"] = gigabytes_per_second(row);
    json["share_of_copy_bandwidth"] = share_of_copy(report, row);
  }
  if (row.is_prompt) {
    json["gmac_per_second"] = gmacs_per_second(report, row);
    json["share_of_matrix_rate"] = share_of_matrix_rate(report, row);
  }
  return json;
}

Json counters_json(const BenchReport& report) {
  const Statistics& now = report.statistics;
  const LoopCounters loop = last_loop(report);
  return {{"steps", loop.n_steps},
          {"submits_per_step", per_step(loop.submits, loop)},
          {"records_per_step", per_step(loop.records, loop)},
          {"allocations_per_step", per_step(loop.allocations, loop)},
          {"dispatches_per_step", loop.n_dispatches},
          {"dispatches_per_dense_layer", loop.n_dense_dispatches},
          {"dispatches_per_moe_layer", loop.n_expert_dispatches},
          {"growths", loop.growths},
          {"pipelines", now.n_pipelines},
          {"pipeline_seconds", now.pipeline_seconds},
          {"load_seconds", now.load_seconds},
          {"weight_bytes", now.weight_bytes},
          {"host_weight_bytes", now.host_weight_bytes},
          {"table_bytes", now.table_bytes},
          {"peak_device_bytes", now.peak_device_bytes},
          {"peak_host_bytes", now.peak_host_bytes}};
}

void print_report_json(const BenchReport& report) {
  const Statistics& now = report.statistics;
  Json json = {{"device",
                {{"name", now.device_name},
                 {"driver", now.device_driver},
                 {"reason", now.device_reason},
                 {"warnings", now.warnings},
                 {"copy_gb_per_second", report.copy_bytes_per_second * 1e-9},
                 {"matrix_gmac_per_second", Json::object()}}},
               {"model",
                {{"description", report.model},
                 {"parameters", now.n_parameters},
                 {"layers", now.n_layers},
                 {"gpu_layers", now.n_gpu_layers}}},
               {"counters", counters_json(report)},
               {"mtp", drafting_json(report.drafting)},
               {"rows", Json::array()}};
  for (const MatrixWork& work : report.work) {
    json["device"]["matrix_gmac_per_second"][work.rate.arithmetic] =
        work.rate.macs_per_second * 1e-9;
  }
  for (const BenchRow& row : report.rows) json["rows"].push_back(row_json(report, row));
  if (!report.column_seconds.empty()) json["column_seconds"] = report.column_seconds;
  for (const PictureTimes& row : report.pictures) {
    json["pictures"].push_back({{"tokens", row.n_tokens},
                                {"projection_seconds", row.projection_seconds},
                                {"prefill_seconds", row.prefill_seconds}});
  }
  if (!report.nodes.empty()) json["profile"] = Json::array();
  for (const NodeFigures& node : report.nodes) {
    json["profile"].push_back({{"label", node.label},
                               {"kernel", node.kernel},
                               {"microseconds", node.microseconds},
                               {"bytes", node.bytes_touched}});
  }
  print_json(json);
}

void print_report_csv(const BenchReport& report) {
  fmt::print(
      "test,tokens_per_second,best_tokens_per_second,first_token_seconds,gb_per_second,"
      "share_of_copy_bandwidth,gmac_per_second,share_of_matrix_rate\n");
  for (const BenchRow& row : report.rows) {
    fmt::print("{},{:.4f},{:.4f},{:.6f},{:.4f},{:.4f},{:.4f},{:.4f}\n", row.test, row.mean_rate(),
               row.best_rate(), row.first_token_seconds, gigabytes_per_second(row),
               share_of_copy(report, row), row.is_prompt ? gmacs_per_second(report, row) : 0,
               row.is_prompt ? share_of_matrix_rate(report, row) : 0);
  }
}

void print_rows_md(const BenchReport& report) {
  fmt::print("| test | tokens/s | best | first token ms | GB/s | of copy | GMAC/s | of rate |\n");
  fmt::print("| ---- | -------: | ---: | -------------: | ---: | ------: | -----: | ------: |\n");
  for (const BenchRow& row : report.rows) {
    std::string shares = "| | | |";
    if (row.bytes_per_token > 0) {
      shares = fmt::format("{:.2f} | {:.0f} % | | |", gigabytes_per_second(row),
                           share_of_copy(report, row) * 100);
    }
    if (row.is_prompt) {
      shares = fmt::format("| | {:.2f} | {:.0f} % |", gmacs_per_second(report, row),
                           share_of_matrix_rate(report, row) * 100);
    }
    fmt::print("| {} | {:.2f} | {:.2f} | {:.1f} | {}\n", row.test, row.mean_rate(), row.best_rate(),
               row.first_token_seconds * 1e3, shares);
  }
}

/// What it costs to verify drafts, in steps without any.
void print_columns_md(const std::vector<double>& seconds) {
  if (seconds.empty()) return;
  fmt::print("\n| columns | ms | of one column |\n| ------: | -: | ------------: |\n");
  for (size_t i = 0; i < seconds.size(); ++i) {
    fmt::print("| {} | {:.2f} | {:.2f} |\n", i + 1, seconds[i] * 1e3, rate(seconds[i], seconds[0]));
  }
}

void print_pictures_md(const std::vector<PictureTimes>& pictures) {
  if (pictures.empty()) return;
  fmt::print("\n| picture tokens | projection ms | prefill ms | share |\n");
  fmt::print("| -------------: | ------------: | ---------: | ----: |\n");
  for (const PictureTimes& row : pictures) {
    fmt::print("| {} | {:.2f} | {:.2f} | {:.2f} % |\n", row.n_tokens, row.projection_seconds * 1e3,
               row.prefill_seconds * 1e3, rate(row.projection_seconds, row.prefill_seconds) * 100);
  }
}

/// The most dispatches of a layer.
std::string layer_text(const LoopCounters& loop) {
  if (loop.n_expert_dispatches == 0) {
    return fmt::format("at most {} in a dense layer", loop.n_dense_dispatches);
  }
  return fmt::format("at most {} in a MoE layer", loop.n_expert_dispatches);
}

void print_report_md(const BenchReport& report) {
  const Statistics& now = report.statistics;
  const LoopCounters loop = last_loop(report);
  fmt::print("{}\n{} ({}), copies {:.1f} GB/s", terminal_safe(report.model),
             terminal_safe(now.device_name), terminal_safe(now.device_driver),
             report.copy_bytes_per_second * 1e-9);
  for (const MatrixWork& work : report.work) {
    fmt::print(", {} {:.1f} GMAC/s", work.rate.arithmetic, work.rate.macs_per_second * 1e-9);
  }
  fmt::print("\n\n");
  print_rows_md(report);
  fmt::print("\nloaded in {:.2f} s; {} pipelines in {:.2f} s; peak memory: host {}, device {}\n",
             now.load_seconds, now.n_pipelines, now.pipeline_seconds,
             size_text(now.peak_host_bytes), size_text(now.peak_device_bytes));
  fmt::print(
      "token loop, per step: {} dispatches ({}), {:.3g} submits, {:.3g} records, {:.3g} "
      "allocations; the KV cache grew {} times\n",
      loop.n_dispatches, layer_text(loop), per_step(loop.submits, loop),
      per_step(loop.records, loop), per_step(loop.allocations, loop), loop.growths);
  fmt::print("{}\n", terminal_safe(drafting_text(report.drafting)));
  print_columns_md(report.column_seconds);
  print_pictures_md(report.pictures);
  if (report.nodes.empty()) return;
  fmt::print("\n| node | kernel | us | GB/s |\n| ---- | ------ | -: | ---: |\n");
  for (const NodeFigures& node : report.nodes) {
    fmt::print("| {} | {} | {:.1f} | {:.2f} |\n", node.label, node.kernel, node.microseconds,
               rate(static_cast<double>(node.bytes_touched) * 1e-3, node.microseconds));
  }
}

double kernel_gb_per_second(const KernelCase& one) {
  return rate(static_cast<double>(one.bytes_touched) * 1e-3, one.microseconds);
}

double kernel_gflops(const KernelCase& one) {
  return rate(static_cast<double>(one.flops) * 1e-3, one.microseconds);
}

}  // namespace

double BenchRow::mean_rate() const {
  return rate(n_tokens * static_cast<double>(seconds.size()),
              std::accumulate(seconds.begin(), seconds.end(), 0.0));
}

double BenchRow::best_rate() const {
  return rate(n_tokens, *std::min_element(seconds.begin(), seconds.end()));
}

void print_report(const BenchReport& report, const std::string& format) {
  if (format == "json") {
    print_report_json(report);
  } else if (format == "csv") {
    print_report_csv(report);
  } else {
    print_report_md(report);
  }
}

void print_kernels(const std::vector<KernelCase>& cases, const std::string& format) {
  if (format == "json") {
    Json rows = Json::array();
    for (const KernelCase& one : cases) {
      rows.push_back({{"kernel", one.kernel},
                      {"variant", one.variant},
                      {"case", one.name},
                      {"microseconds", one.microseconds},
                      {"bytes", one.bytes_touched},
                      {"flops", one.flops},
                      {"gb_per_second", kernel_gb_per_second(one)},
                      {"gflops", kernel_gflops(one)}});
    }
    print_json({{"rows", rows}});
    return;
  }
  const bool csv = format == "csv";
  fmt::print("{}", csv ? "kernel,variant,case,microseconds,gb_per_second,gflops\n"
                       : "| kernel | variant | case | us | GB/s | GFLOP/s |\n"
                         "| ------ | ------- | ---- | -: | ---: | ------: |\n");
  for (const KernelCase& one : cases) {
    const std::string_view line =
        csv ? "{},{},{},{:.2f},{:.3f},{:.3f}\n" : "| {} | {} | {} | {:.2f} | {:.3f} | {:.3f} |\n";
    fmt::print(fmt::runtime(line), one.kernel, one.variant, one.name, one.microseconds,
               kernel_gb_per_second(one), kernel_gflops(one));
  }
}

}  // namespace kimberlite::cli
