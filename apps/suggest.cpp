#include "apps/suggest.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace kimberlite::cli {
namespace {

/// Letters to insert, remove or replace, with two swapped neighbours counted as one: the "optimal
/// string alignment" distance.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string suggestion(const std::string& word, const std::vector<std::string>& names) {
  size_t nearest = std::min<size_t>(word.size() / 3, 2) + 1;
  std::string found;
  for (const std::string& name : names) {
    const size_t differs = distance(word, name);
    if (differs >= nearest) continue;
    nearest = differs;
    found = "; did you mean " + name + "?";
  }
  return found;
}

}  // namespace kimberlite::cli
