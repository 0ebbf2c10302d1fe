// Segments, the words that are certain, and results.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "search.h"

namespace ds2 {
namespace {

constexpr int32_t kAround = 2;       // frames around a word that tell how clear it is
constexpr int32_t kLookBehind = 16;  // frames before a word that its times may need
constexpr const char* kUnknownText = "<unk>";  // for what the closed vocabulary does not have

}  // namespace

SearchState::SearchState(std::shared_ptr<const Search> search) : search_(std::move(search)) {
  const SearchOptions& options = search_->options();
  const float rest = 1.0f - options.cutoff;
  floor_log_prob_ = rest > 0.0f ? std::log(rest / static_cast<float>(search_->token_count()))
                                : -std::numeric_limits<float>::infinity();
  log_cutoff_ = std::log(options.cutoff);
  begin_segment();
}

void SearchState::begin_segment() {
  const int32_t space = search_->space();
  tree_.reset(space, search_->language_model().start());
  tree_[tree_.root()].slot = 0;
  const auto clear = [](auto& array) { array.clear(); };
  beam_.each_array(clear);
  next_.each_array(clear);
  beam_.blank.push_back(0.0f);
  beam_.nonblank.push_back(kLogZero);
  beam_.total.push_back(0.0f);
  beam_.language.push_back(0.0f);
  beam_.outlook.push_back(search_->visit_vocabulary([](const auto& v) { return v.outlook({}); }));
  beam_.node.push_back(tree_.root());
  beam_.token.push_back(space);
  beam_.place.emplace_back();
  beam_.nonblank_moment.push_back(kNoIndex);
  beam_.blank_moment.push_back(kNoIndex);
  if (search_->has_phrases()) {
    beam_.credit.push_back(0.0f);
    beam_.saved.push_back(0);
  }
  certain_.clear();
  segment_start_ = certain_end_ = frame_;
  offset_ = depth_ = 0.0;
  root_depth_ = 0.0f;
  heard_.clear();
  all_blank_ = true;
}

// Keeps the cost per frame and the memory constant, and the numbers small.
void SearchState::settle() {
  renormalise();
  const int32_t shared = shared_boundary();
  if (shared != tree_.root()) commit_to(shared, best());
  if (frame_ - certain_end_ > search_->options().max_ambiguity) resolve_old();
  if (tree_.crowded()) compact();
  const int32_t certain = static_cast<int32_t>(certain_end_ - segment_start_);
  heard_.forget_before(std::max(certain, now() - search_->options().max_ambiguity) - kLookBehind);
}

void SearchState::renormalise() {
  const float highest = *std::max_element(beam_.total.begin(), beam_.total.end());
  for (auto* array : {&beam_.blank, &beam_.nonblank, &beam_.total}) {
    for (float& value : *array) value = std::max(value - highest, kLogZero);
  }
  offset_ += highest;
  depth_ += highest;
}

void SearchState::compact() {
  for (size_t i = 0; i < beam_.size(); ++i) {  // moments are cut at the root
    if (beam_.node[i] != tree_.root() || moment_of(i) == kNoIndex) continue;
    root_depth_ = tree_.moment(moment_of(i)).depth;
  }
  std::vector<int32_t> moments = beam_.nonblank_moment;
  moments.insert(moments.end(), beam_.blank_moment.begin(), beam_.blank_moment.end());
  const float rebase = tree_.compact(&beam_.node, &moments);
  const auto middle = moments.begin() + static_cast<std::ptrdiff_t>(beam_.size());
  beam_.nonblank_moment.assign(moments.begin(), middle);
  beam_.blank_moment.assign(middle, moments.end());
  for (float& value : beam_.language) value -= rebase;
  for (float& value : beam_.outlook) value -= rebase;
  offset_ += rebase;
}

// The last place between two words that all hypotheses have come through.
int32_t SearchState::shared_boundary() const {
  int32_t shared = tree_[beam_.node[0]].boundary;
  for (const int32_t node : beam_.node) {
    int32_t other = tree_[node].boundary;
    while (shared != other) {
      int32_t& longer = tree_[shared].words >= tree_[other].words ? shared : other;
      longer = tree_.previous_boundary(longer);
    }
  }
  return shared;
}

// Hypotheses may disagree for max_ambiguity frames; then the best one is right.
void SearchState::resolve_old() {
  for (;;) {
    const size_t winner = best();
    int32_t agreed = first_boundary(winner);
    if (agreed == kNoIndex && search_->has_endless_words()) agreed = first_prefix(winner);
    kept_.assign(beam_.size(), 1);
    if (agreed != kNoIndex) {
      if (!is_old(winner, agreed)) return;
      // A word may have no end: what there is of it is cut off as a word.
      if (first_boundary(winner) == kNoIndex) agreed = beam_.node[winner];
      commit_to(agreed, winner);
      for (size_t i = 0; i < beam_.size(); ++i) kept_[i] = descends(beam_.node[i], agreed);
      drop_entries();
    } else {  // the best has no word yet: then no other has an old one
      for (size_t i = 0; i < beam_.size(); ++i) {
        const int32_t boundary = first_boundary(i);
        kept_[i] = boundary == kNoIndex || !is_old(i, boundary);
      }
      drop_entries();
      return;
    }
  }
}

void SearchState::drop_entries() {
  for (const int32_t node : beam_.node) tree_[node].slot = kNoIndex;
  beam_.each_array([this](auto& array) {
    if (array.empty()) return;  // not in use
    size_t count = 0;
    for (size_t i = 0; i < kept_.size(); ++i) {
      if (kept_[i]) array[count++] = array[i];
    }
    array.resize(count);
  });
  for (size_t i = 0; i < beam_.size(); ++i) tree_[beam_.node[i]].slot = static_cast<int32_t>(i);
}

// The words from the root to `node` are certain, with the times that `entry` gives them.
void SearchState::commit_to(int32_t node, size_t entry) {
  append_path(entry, node, true, &certain_);
  if (!certain_.empty()) certain_end_ = std::max(certain_end_, certain_.back().end_frame);
  tree_.set_root(node);
}

// Was the last token of prefix `node`, on the path to `entry`, spoken long ago?
bool SearchState::is_old(size_t entry, int32_t node) const {
  int32_t moment = moment_of(entry);
  for (int32_t at = beam_.node[entry]; at != node; at = tree_[at].parent) {
    moment = tree_.moment(moment).previous;
  }
  return now() - tree_.moment(moment).frame > search_->options().max_ambiguity;
}

bool SearchState::descends(int32_t node, int32_t ancestor) const {
  while (node > ancestor) node = tree_[node].parent;  // a child comes after its parent
  return node == ancestor;
}

// The end of the first word after the root; kNoIndex where no word is complete.
int32_t SearchState::first_boundary(size_t entry) const {
  int32_t boundary = tree_[beam_.node[entry]].boundary;
  if (boundary == tree_.root()) return kNoIndex;
  for (int32_t before; (before = tree_.previous_boundary(boundary)) != tree_.root();) {
    boundary = before;
  }
  return boundary;
}

// The prefix one token longer than the root; kNoIndex where there is none.
int32_t SearchState::first_prefix(size_t entry) const {
  int32_t node = beam_.node[entry];
  if (node == tree_.root()) return kNoIndex;
  while (tree_[node].parent != tree_.root()) node = tree_[node].parent;
  return node;
}

size_t SearchState::best() const {
  size_t best = 0;
  for (size_t i = 1; i < beam_.size(); ++i) {
    if (beam_.total[i] + beam_.outlook[i] > beam_.total[best] + beam_.outlook[best]) best = i;
  }
  return best;
}

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

// A word and, where there is one, the step after it, before `stop`.
Word SearchState::spoken(const Step* begin, const Step* end, const Step* stop,
                         int64_t floor) const {
  Word word;
  float log_prob = 0.0f;
  Evidence& evidence = word.evidence;
  evidence.deficit = end < stop ? tree_.moment(end->moment).deficit : 0.0f;
  for (const Step* step = begin; step < end; ++step) {
    const Moment& moment = tree_.moment(step->moment);
    const int32_t token = tree_[step->node].token;
    word.text += search_->tokens()[token];
    word.tokens.push_back({token, segment_start_ + moment.frame});
    log_prob += std::min(moment.log_prob, 0.0f);
    evidence.deficit += moment.deficit;
  }
  const auto count = static_cast<float>(end - begin);
  // Words that crowd at the end of the stream are left without a frame of their own.
  word.start_frame = std::min(std::max(word.tokens.front().frame, floor), frame_);
  word.end_frame = std::min(std::max(end_frame(begin, end), word.start_frame + 1), frame_);
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

// The frame after a word, from the state's first frame.
int64_t SearchState::end_frame(const Step* begin, const Step* end) const {
  const Step* last = end - 1;
  const int32_t token = tree_[last->node].token;
  int32_t frame = tree_.moment(last->moment).frame;
  if (last > begin) {
    const bool repeats = token == tree_[(last - 1)->node].token;
    frame = heard_.end_of(token, tree_.moment((last - 1)->moment).frame + (repeats ? 2 : 1), frame);
  }
  return segment_start_ + frame + 1 + heard_.quiet_after(token, frame);
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
  if (search_->has_many_spellings()) merge_texts(&merged);
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

size_t SearchState::bytes() const {
  size_t bytes = tree_.bytes() + heard_.bytes() + survivors_.bytes() + certain_.capacity() * sizeof(Word);
  const auto add = [&bytes](const auto& array) { bytes += array.capacity() * sizeof(array[0]); };
  const_cast<Beam&>(beam_).each_array(add);
  const_cast<Beam&>(next_).each_array(add);
  for (const auto* array : {&emit_, &stays_, &enters_, &sure_, &new_blank_, &new_nonblank_,
                            &new_total_, &ranks_}) {
    add(*array);
  }
  add(symbols_), add(extensions_), add(child_mask_), add(kept_), add(saved_), add(begun_), add(reached_), add(divided_);
  return bytes;
}

}  // namespace ds2
