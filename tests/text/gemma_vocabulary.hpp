// The real Gemma 4 vocabulary, loaded once for all tests of a program.
#pragma once

#include <memory>
#include <string>

#include "formats/gguf.hpp"
#include "text/tokenizer.hpp"

namespace kimberlite::text::testing {

inline const std::string kGemmaVocabularyPath = KIMBERLITE_SHARED_DATA "/ggml-vocab-gemma-4.gguf";

/// Null where the file is not there or wrong; `error` then says why.
struct GemmaVocabulary {
  std::unique_ptr<Vocabulary> vocabulary;
  std::unique_ptr<Tokenizer> tokenizer;
  Error error;
};

inline GemmaVocabulary load_gemma_vocabulary() {
  auto file = formats::GgufFile::open(kGemmaVocabularyPath);
  if (!file) return {nullptr, nullptr, file.error()};
  auto vocabulary = read_vocabulary(*file);
  if (!vocabulary) return {nullptr, nullptr, vocabulary.error()};
  auto tokenizer = Tokenizer::make(*vocabulary);
  if (!tokenizer) return {nullptr, nullptr, tokenizer.error()};
  return {std::make_unique<Vocabulary>(std::move(*vocabulary)),
          std::make_unique<Tokenizer>(std::move(*tokenizer)),
          {}};
}

inline const GemmaVocabulary& gemma_vocabulary() {
  static const GemmaVocabulary vocabulary = load_gemma_vocabulary();
  return vocabulary;
}

}  // namespace kimberlite::text::testing

/// Skips the test where the vocabulary file is missing; fails it where the file is wrong.
#define KL_NEED_GEMMA_VOCABULARY()                                                         \
  do {                                                                                     \
    const auto& kl_gemma = kimberlite::text::testing::gemma_vocabulary();                  \
    if (kl_gemma.tokenizer == nullptr) {                                                   \
      ASSERT_EQ(kl_gemma.error.code, kimberlite::ErrorCode::io) << kl_gemma.error.message; \
      GTEST_SKIP() << "not found: " << kimberlite::text::testing::kGemmaVocabularyPath;    \
    }                                                                                      \
  } while (0)
