#include "lexicon.h"

#include <algorithm>
#include <stdexcept>

namespace ds2 {
namespace {

// Bytes of the UTF-8 character that begins with `lead`.
size_t character_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

std::string quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c == '\0' ? std::string("\\0") : std::string(1, c);  // a message ends at a zero byte
  }
  return quoted + "'";
}

}  // namespace

// Turns words into token indices; one-byte characters, nearly all of them, by a table.
class Lexicon::Speller {
 public:
  explicit Speller(const std::unordered_map<std::string, int32_t>& characters)
      : characters_(characters) {
    std::fill(std::begin(ascii_), std::end(ascii_), kNone);
    for (const auto& [character, token] : characters) {
      if (character.size() == 1) ascii_[static_cast<unsigned char>(character[0]) & 127] = token;
    }
  }

  // Appends the spelling of `word`; returns the first character that has no token, or nothing.
  std::string_view spell(std::string_view word, std::vector<int32_t>* letters) const {
    for (size_t at = 0; at < word.size();) {
      const std::string_view character =
          word.substr(at, character_length(static_cast<unsigned char>(word[at])));
      const int32_t token = find(character);
      if (token == kNone) return character;
      letters->push_back(token);
      at += character.size();
    }
    return {};
  }

 private:
  int32_t find(std::string_view character) const {
    if (character.size() == 1) return ascii_[static_cast<unsigned char>(character[0]) & 127];
    const auto found = characters_.find(std::string(character));
    return found == characters_.end() ? kNone : found->second;
  }

  const std::unordered_map<std::string, int32_t>& characters_;
  int32_t ascii_[128];
};

Lexicon::Lexicon(const std::vector<std::string_view>& words, const std::vector<std::string>& tokens,
                 std::shared_ptr<const LanguageModel> language_model)
    : used_(tokens.size()),
      language_model_(std::move(language_model)),
      narrow_(tokens.size() <= 64) {
  if (words.empty()) throw std::invalid_argument("the lexicon is empty: it needs at least 1 word");
  for (size_t token = 0; token < tokens.size(); ++token) {
    const std::string& text = tokens[token];
    if (text.empty() || text == " ") continue;  // a space ends words, it is in none
    if (text.size() == character_length(static_cast<unsigned char>(text[0]))) {
      characters_.emplace(text, static_cast<int32_t>(token));
    }
  }
  const Speller speller(characters_);
  std::vector<int32_t> letters;
  std::vector<Spelling> spellings;
  letters.reserve(words.size() * 10);
  spellings.reserve(words.size());
  for (uint32_t i = 0; i < words.size(); ++i) {
    if (words[i].empty()) {
      throw std::invalid_argument("word " + std::to_string(i) + " of the lexicon is empty");
    }
    const auto begin = static_cast<uint32_t>(letters.size());
    const std::string_view missing = speller.spell(words[i], &letters);
    if (!missing.empty()) {
      throw std::invalid_argument("word " + quoted(words[i]) + " of the lexicon has " +
                                  quoted(missing) + ", which is not a token; normalise the words");
    }
    spellings.push_back({begin, static_cast<uint32_t>(letters.size()), i});
  }
  for (const int32_t token : letters) used_[token] = true;
  build(letters, std::move(spellings), words);
  spread_outlook();
}

void Lexicon::build(const std::vector<int32_t>& letters, std::vector<Spelling> spellings,
                    const std::vector<std::string_view>& words) {
  const auto less = [&](const Spelling& a, const Spelling& b) {
    return std::lexicographical_compare(letters.begin() + a.begin, letters.begin() + a.end,
                                        letters.begin() + b.begin, letters.begin() + b.end);
  };
  if (!std::is_sorted(spellings.begin(), spellings.end(), less)) {
    std::sort(spellings.begin(), spellings.end(), less);
  }
  struct Range {
    size_t low, high;  // the spellings below a node
    uint32_t depth;
  };
  std::vector<Range> ranges{{0, spellings.size(), 0}};  // one per node
  nodes_.emplace_back();
  tokens_.push_back(kNone);
  size_t unknown = 0;
  for (size_t node = 0; node < ranges.size(); ++node) {
    auto [low, high, depth] = ranges[node];
    const auto ends_here = [&](size_t i) {
      return spellings[i].end - spellings[i].begin == depth;
    };
    if (ends_here(low)) {
      const std::string_view word = words[spellings[low].word];
      nodes_[node].ends_word = true;
      if (language_model_) {
        nodes_[node].word = language_model_->index(word);
        nodes_[node].outlook = language_model_->unigram(nodes_[node].word);
        unknown += nodes_[node].word == kUnknownWord;
      } else {
        nodes_[node].outlook = 0.0f;
      }
      ++size_;
      while (low < high && ends_here(low)) ++low;  // the same word twice
    }
    nodes_[node].first_child = static_cast<int32_t>(nodes_.size());
    while (low < high) {
      const int32_t token = letters[spellings[low].begin + depth];
      size_t end = low;
      while (end < high && letters[spellings[end].begin + depth] == token) ++end;
      nodes_[node].mask |= uint64_t{1} << (token & 63);
      ++nodes_[node].child_count;
      nodes_.emplace_back();
      tokens_.push_back(token);
      ranges.push_back({low, end, depth + 1});
      low = end;
    }
  }
  check_known(words, unknown);
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
void Lexicon::spread_outlook() {
  for (size_t node = nodes_.size(); node-- > 0;) {
    Node& parent = nodes_[node];
    for (uint32_t i = 0; i < parent.child_count; ++i) {
      parent.outlook = std::max(parent.outlook, nodes_[parent.first_child + i].outlook);
    }
  }
}

int32_t Lexicon::search_children(const Node& node, int32_t token) const {
  const auto begin = tokens_.begin() + node.first_child;
  const auto end = begin + node.child_count;
  const auto found = std::lower_bound(begin, end, token);
  return found != end && *found == token ? static_cast<int32_t>(found - tokens_.begin()) : kNone;
}

bool Lexicon::contains(std::string_view word) const {
  std::vector<int32_t> letters;
  if (!Speller(characters_).spell(word, &letters).empty()) return false;
  int32_t node = kRoot;
  for (const int32_t token : letters) {
    if ((node = child(node, token)) == kNone) return false;
  }
  return ends_word(node);
}

}  // namespace ds2
