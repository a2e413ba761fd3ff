// What a user may have meant by a word that is no command or option.
#pragma once

#include <string>
#include <vector>

namespace kimberlite::cli {

/// "; did you mean NAME?" with the name that is nearest to `word`: at most a third of its letters
/// differ, two at most. Empty where there is none.
std::string suggestion(const std::string& word, const std::vector<std::string>& names);

}  // namespace kimberlite::cli
