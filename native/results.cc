// From the hypotheses to words: their times, their confidence, the best n.
#include <algorithm>
#include <cmath>
#include <map>

#include "search.h"

namespace ds2 {
namespace {

constexpr int32_t kAround = 2;  // frames around a word that tell how clear it is
constexpr const char* kUnknownText = "<unk>";  // for what the closed vocabulary does not have

}  // namespace

// The tokens on the way from the root to a hypothesis.
std::vector<SearchState::Step> SearchState::path(size_t entry) const {
  std::vector<Step> steps;
  int32_t moment = moment_of(entry);
  for (int32_t node = beam_.node[entry]; node != tree_.root(); node = tree_[node].parent) {
    steps.push_back({node, moment});
    moment = tree_.moment(moment).previous;
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

// Appends the words of a hypothesis up to prefix `last`. `over`: nothing can be added to them.
void SearchState::append_path(size_t entry, int32_t last, bool over,
                              std::vector<Word>* words) const {
  const std::vector<Step> steps = path(entry);
  const Step* const after = steps.data() + steps.size();
  const Step* stop = after;
  while (stop > steps.data() && (stop - 1)->node > last) --stop;  // a child comes after its parent
  int64_t floor = certain_end_;
  for (const Step *begin = steps.data(), *end; begin < stop; begin = end) {
    end = begin + 1;
    if (tree_[begin->node].token == search_->space()) continue;
    const Step* unknown_end = search_->closed() ? find_unknown(begin, stop, over) : begin;
    if (unknown_end > begin) {
      end = unknown_end;
    } else if (search_->space() != kNoIndex) {
      while (end < stop && tree_[end->node].token != search_->space()) ++end;
    }
    words->push_back(spoken(begin, end, after, floor));
    if (unknown_end > begin) words->back().text = kUnknownText;
    floor = words->back().end_frame;
  }
}

// Where the closed vocabulary has no phrase for what begins here: the end of that, else `begin`.
const SearchState::Step* SearchState::find_unknown(const Step* begin, const Step* stop,
                                                   bool over) const {
  const bool spaced = search_->space() != kNoIndex;
  const Step* end = begin;  // where the next phrase may begin
  bool ended = false;
  for (; end < stop && !ended; ++end) {
    ended = tree_[end->node].boundary == end->node;
    if (ended && spaced) break;  // at the space after the word
  }
  const Place& place = tree_[(end - 1)->node].place;
  const ClosedWords words(*search_->closed(), search_->options().unknown);
  const bool known = place.spelling != kOutside &&
                     (!ended ? !over || words.ends_phrase(place) : !spaced || words.goes_on(place));
  return known ? begin : end;
}

// A word, not before frame `floor`. Its hypothesis goes on, maybe, until `stop`.
Word SearchState::spoken(const Step* begin, const Step* end, const Step* stop,
                         int64_t floor) const {
  Word word;
  float log_prob = 0.0f;
  Evidence& evidence = word.evidence;
  evidence.deficit = end < stop ? tree_.moment(end->moment).deficit : 0.0f;
  for (const Step* step = begin; step < end; ++step) {
    const Moment& moment = tree_.moment(step->moment);
    const std::string& text = search_->tokens()[tree_[step->node].token];
    // Where what was certain before ends late, words crowd after it, maybe without a frame.
    const int64_t first = std::min(std::max(segment_start_ + moment.frame, floor), frame_);
    floor = std::min(std::max(segment_start_ + end_frame(begin, step, stop), first + 1), frame_);
    word.text += text;
    word.tokens.push_back({text, first, floor});
    log_prob += std::min(moment.log_prob, 0.0f);
    evidence.deficit += moment.deficit;
  }
  const auto count = static_cast<float>(end - begin);
  word.start_frame = word.tokens.front().start_frame;
  word.end_frame = word.tokens.back().end_frame;
  evidence.letters = count;
  evidence.pace = static_cast<float>(word.end_frame - word.start_frame) / count;
  evidence.language = language_of(begin, end, stop);
  const auto first = static_cast<int32_t>(word.start_frame - segment_start_);
  const auto last = static_cast<int32_t>(word.end_frame - segment_start_);
  evidence.clarity = heard_.clarity(first - kAround, last + kAround);
  evidence.usual_clarity = heard_.usual_clarity(last);
  const std::optional<Confidence>& confidence = search_->confidence();
  word.confidence = confidence ? (*confidence)(evidence) : std::exp(log_prob / count);
  return word;
}

// The frame after a token of a word that starts at `begin`.
int32_t SearchState::end_frame(const Step* begin, const Step* step, const Step* stop) const {
  const int32_t token = tree_[step->node].token;
  int32_t frame = tree_.moment(step->moment).frame;
  if (step > begin) {
    const bool repeats = token == tree_[step[-1].node].token;
    frame = heard_.end_of(token, tree_.moment(step[-1].moment).frame + (repeats ? 2 : 1), frame);
  }
  const Step* next = step + 1;
  while (next < stop && tree_[next->node].token == search_->space()) ++next;
  const int32_t limit = next < stop ? tree_.moment(next->moment).frame : now();
  return std::min(frame + 1 + heard_.quiet_after(token, frame), limit);
}

// log p(word | words before), as far as the language model was asked.
float SearchState::language_of(const Step* begin, const Step* end, const Step* stop) const {
  if (search_->alpha() == 0.0f) return 0.0f;
  const Prefix& last = tree_[(end - 1)->node];
  const float before = tree_[tree_[begin->node].parent].language;
  const bool over = end < stop || last.boundary == (end - 1)->node;
  if (!over && !last.asked) return 0.0f;
  const Prefix& after = end < stop ? tree_[end->node] : last;
  const float brought = after.language - before + (over ? 0.0f : last.word_language);
  return std::min((brought - search_->options().beta) / search_->alpha(), 0.0f);
}

std::vector<Word> SearchState::commit() {
  std::vector<Word> words;
  words.swap(certain_);
  return words;
}

std::vector<Word> SearchState::words() const {
  std::vector<Word> words = certain_;
  const size_t entry = best();
  append_path(entry, beam_.node[entry], false, &words);
  return words;
}

template <class Vocabulary>
SearchState::Ending SearchState::ending(const Vocabulary& vocabulary, size_t entry) {
  const bool spaced = search_->space() != kNoIndex;
  // The same words with a space after them are the same hypothesis.
  const int32_t node = without_space(beam_.node[entry]);
  const Prefix prefix = tree_[node];
  Ending ending{node, entry, true, beam_.total[entry], prefix.language};
  int32_t state = prefix.state;
  const bool between = node == tree_.root() || (!spaced && prefix.boundary == node);
  if (!between && vocabulary.completes(prefix.place)) {
    ending.language += vocabulary.end_gain(prefix.place);
    if (spaced) {
      ending.language += word_language(vocabulary, node) - vocabulary.word_gain(prefix.place);
      state = tree_[node].word_state;
    }
  } else if (!between) {
    ending.complete = false;
    ending.last = without_space(prefix.boundary);
    ending.language = tree_[prefix.boundary].language;
    state = tree_[prefix.boundary].state;
  }
  ending.language += search_->alpha() * search_->language_model().finish(tree_.state(state));
  return ending;
}

int32_t SearchState::without_space(int32_t node) const {
  const bool space = node != tree_.root() && tree_[node].token == search_->space();
  return space ? tree_[node].parent : node;
}

// All hypotheses, one for each sequence of words, the best first.
std::vector<SearchState::Ending> SearchState::endings() {
  std::vector<Ending> all;
  bool any_complete = false;
  search_->visit_vocabulary([&](const auto& vocabulary) {
    for (size_t i = 0; i < beam_.size(); ++i) {
      all.push_back(ending(vocabulary, i));
      any_complete |= all.back().complete;
    }
  });
  const auto better = [](const Ending& a, const Ending& b) {
    return a.score() != b.score() ? a.score() > b.score() : a.last < b.last;
  };
  std::sort(all.begin(), all.end(), [&](const Ending& a, const Ending& b) {
    return a.last != b.last ? a.last < b.last : better(a, b);
  });
  std::vector<Ending> merged;
  for (const Ending& one : all) {
    if (any_complete && !one.complete) continue;
    if (!merged.empty() && merged.back().last == one.last) {
      merged.back().total = log_add(merged.back().total, one.total);
    } else {
      merged.push_back(one);
    }
  }
  if (has_cut_ || search_->has_many_spellings()) merge_texts(&merged);
  std::sort(merged.begin(), merged.end(), better);
  return merged;
}

// The same words may have been spelled in several ways, or stand for several unknown ones: what
// all of these are worth together, with the times of the best.
void SearchState::merge_texts(std::vector<Ending>* endings) const {
  struct Merged {
    Ending best;
    float score;
  };
  std::map<std::string, Merged> by_text;
  for (const Ending& one : *endings) {
    std::vector<Word> words;
    append_path(one.entry, one.last, true, &words);
    std::string text;
    for (const Word& word : words) text += word.text + ' ';
    const auto score = static_cast<float>(one.score());
    const auto [known, is_new] = by_text.emplace(text, Merged{one, score});
    if (is_new) continue;
    Merged& merged = known->second;
    merged.score = log_add(merged.score, score);
    if (one.score() > merged.best.score()) merged.best = one;
  }
  endings->clear();
  for (auto& [text, merged] : by_text) {
    merged.best.total = merged.score - merged.best.language;
    endings->push_back(merged.best);
  }
}

std::vector<Hypothesis> SearchState::finish(size_t n) {
  std::vector<Hypothesis> hypotheses;
  for (const Ending& ending : endings()) {
    if (hypotheses.size() == n) break;
    Hypothesis hypothesis{offset_ + ending.score(), certain_};
    append_path(ending.entry, ending.last, true, &hypothesis.words);
    hypotheses.push_back(std::move(hypothesis));
  }
  begin_segment();
  return hypotheses;
}

}  // namespace ds2
