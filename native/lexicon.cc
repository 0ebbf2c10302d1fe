#include "lexicon.h"

#include <algorithm>
#include <stdexcept>

namespace ds2 {

Lexicon::Lexicon(const std::vector<std::string_view>& words, const Speller& speller,
                 std::shared_ptr<const LanguageModel> language_model)
    : speller_(speller), language_model_(std::move(language_model)) {
  if (words.empty()) throw std::invalid_argument("the lexicon is empty: it needs at least 1 word");
  std::vector<int32_t> letters;
  std::vector<Trie<Entry>::Sequence> spellings;
  letters.reserve(words.size() * 10);
  spellings.reserve(words.size());
  for (uint32_t i = 0; i < words.size(); ++i) {
    if (words[i].empty()) {
      throw std::invalid_argument("word " + std::to_string(i) + " of the lexicon is empty");
    }
    const auto begin = static_cast<uint32_t>(letters.size());
    const std::string_view stopped = speller_.spell(words[i], &letters);
    if (!stopped.empty()) {
      throw std::invalid_argument("word " + quoted(words[i]) + " of the lexicon has " +
                                  quoted(stopped) + ", which is not a token; normalise the words");
    }
    spellings.push_back({begin, static_cast<uint32_t>(letters.size()), i});
  }
  size_t unknown = 0;
  const auto ended = [&](int32_t node, uint32_t i) {
    Entry& entry = trie_[node];
    entry.ends_word = true;
    if (language_model_) {
      entry.word = language_model_->index(words[i]);
      unknown += entry.word == kUnknownWord;
    }
    ++size_;
  };
  trie_.build(letters, std::move(spellings), speller_.tokens().size(), ended);
  check_known(words, unknown);
  find_outlooks();
}

void Lexicon::check_known(const std::vector<std::string_view>& words, size_t unknown) const {
  if (2 * unknown <= size_) return;
  for (const std::string_view word : words) {
    if (language_model_->index(word) != kUnknownWord) continue;
    throw std::invalid_argument(
        "the language model does not know " + std::to_string(unknown) + " of the " +
        std::to_string(size_) + " words of the lexicon, for example " + quoted(word) +
        "; a lexicon and a language model of the same text are needed");
  }
}

// Children come after their parent, so one pass from the end carries the best word up.
void Lexicon::find_outlooks() {
  constexpr float kNoWord = -1e30f;
  outlooks_.assign(trie_.size(), language_model_ ? kNoWord : 0.0f);
  if (!language_model_) return;
  for (int32_t node = trie_.size(); node-- > 0;) {
    float& outlook = outlooks_[node];
    if (ends_word(node)) outlook = language_model_->unigram(word(node));
    for (int32_t child = trie_.first_child(node); child < trie_.end_child(node); ++child) {
      outlook = std::max(outlook, outlooks_[child]);
    }
  }
}

bool Lexicon::contains(std::string_view word) const {
  std::vector<int32_t> letters;
  if (!speller_.spell(word, &letters).empty()) return false;
  int32_t node = kRoot;
  for (const int32_t token : letters) {
    if ((node = child(node, token)) == kNone) return false;
  }
  return ends_word(node);
}

}  // namespace ds2
