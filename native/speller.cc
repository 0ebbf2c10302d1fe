#include "speller.h"

#include <algorithm>
#include <stdexcept>

namespace ds2 {
namespace {

// Bytes of the UTF-8 character that begins with `lead`.
size_t character_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

std::string_view first_character(std::string_view text) {
  return text.substr(0, character_length(static_cast<unsigned char>(text[0])));
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\0' ? std::string("\\0") : std::string(1, c);
  return quoted + "'";
}

Speller::Speller(std::vector<std::string> tokens, int blank, int space)
    : tokens_(std::move(tokens)), blank_(blank), space_(space) {
  const auto count = static_cast<int>(tokens_.size());
  const std::string range = "0 to " + std::to_string(count - 1);
  const auto refuse = [](const std::string& message) { throw std::invalid_argument(message); };
  if (count < 2) refuse("at least 2 tokens are needed, got " + std::to_string(count));
  if (blank < 0 || blank >= count) {
    refuse("blank must be a token index, " + range + ", got " + std::to_string(blank));
  }
  if (space != kNoIndex && (space < 0 || space >= count || space == blank)) {
    refuse("space must be a token index, " + range + " and not the blank's, got " +
           std::to_string(space));
  }
  std::fill(std::begin(ascii_), std::end(ascii_), kNoIndex);
  for (int32_t token = 0; token < static_cast<int32_t>(tokens_.size()); ++token) {
    const std::string& text = tokens_[token];
    if (token == blank || token == space || text.empty()) continue;
    indices_.emplace(text, token);
    longest_ = std::max(longest_, text.size());
    plain_ &= first_character(text).size() == text.size();
    if (text.size() == 1 && !(text[0] & 0x80)) ascii_[static_cast<size_t>(text[0])] = token;
  }
}

int32_t Speller::find(std::string_view text) const {
  if (text.size() == 1) {
    const auto byte = static_cast<unsigned char>(text[0]);
    return byte < 128 ? ascii_[byte] : kNoIndex;
  }
  const auto found = indices_.find(std::string(text));
  return found == indices_.end() ? kNoIndex : found->second;
}

std::string_view Speller::spell(std::string_view word, std::vector<int32_t>* spelling) const {
  if (!plain_) return spell_longest(word, spelling);
  for (size_t at = 0; at < word.size();) {
    const std::string_view character = first_character(word.substr(at));
    const int32_t token = find(character);
    if (token == kNoIndex) return character;
    spelling->push_back(token);
    at += character.size();
  }
  return {};
}

std::string_view Speller::spell_longest(std::string_view word,
                                        std::vector<int32_t>* spelling) const {
  // From the end: the longest token at each place from which the rest can be spelled.
  std::vector<int32_t> choice(word.size(), kNoIndex);
  size_t earliest = word.size();
  for (size_t at = word.size(); at-- > 0;) {
    for (size_t length = std::min(longest_, word.size() - at); length > 0; --length) {
      const bool rest = at + length == word.size() || choice[at + length] != kNoIndex;
      const int32_t token = rest ? find(word.substr(at, length)) : kNoIndex;
      if (token == kNoIndex) continue;
      choice[at] = token;
      earliest = at;
      break;
    }
  }
  if (earliest > 0) {  // the character before what can be spelled
    while (--earliest > 0 && (static_cast<unsigned char>(word[earliest]) & 0xc0) == 0x80) {
    }
    return first_character(word.substr(earliest));
  }
  for (size_t at = 0; at < word.size(); at += tokens_[choice[at]].size()) {
    spelling->push_back(choice[at]);
  }
  return {};
}

void Speller::spell_phrase(std::string_view phrase, std::vector<int32_t>* spelling) const {
  const size_t before = spelling->size();
  for (std::string_view rest = phrase; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (end > 0 && spelling->size() > before && space_ != kNoIndex) spelling->push_back(space_);
    const std::string_view stopped = spell(rest.substr(0, end), spelling);
    if (!stopped.empty()) {
      throw std::invalid_argument("the phrase " + quoted(phrase) + " has " + quoted(stopped) +
                                  ", which is not a token of the model; spell the phrase with its tokens");
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (spelling->size() == before) {
    throw std::invalid_argument("the phrase " + quoted(phrase) + " has no words");
  }
}

}  // namespace ds2
