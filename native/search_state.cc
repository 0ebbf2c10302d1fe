// Segments, the words that are certain, and results.
#include <algorithm>
#include <cmath>
#include <limits>

#include "search.h"

namespace ds2 {

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
  const Lexicon* lexicon = search_->lexicon();
  const auto clear = [](auto& array) { array.clear(); };
  beam_.each_array(clear);
  next_.each_array(clear);
  beam_.blank.push_back(0.0f);
  beam_.nonblank.push_back(kLogZero);
  beam_.total.push_back(0.0f);
  beam_.language.push_back(0.0f);
  beam_.outlook.push_back(lexicon ? search_->alpha() * lexicon->outlook(Lexicon::kRoot) : 0.0f);
  beam_.node.push_back(tree_.root());
  beam_.token.push_back(space);
  beam_.spelling.push_back(Lexicon::kRoot);
  beam_.nonblank_moment.push_back(kNoIndex);
  beam_.blank_moment.push_back(kNoIndex);
  certain_.clear();
  segment_start_ = certain_end_ = frame_;
  offset_ = 0.0;
  all_blank_ = true;
}

// Keeps the cost per frame and the memory constant, and the numbers small.
void SearchState::settle() {
  renormalise();
  const int32_t shared = shared_boundary();
  if (shared != tree_.root()) commit_to(shared, best());
  if (frame_ - certain_end_ > search_->options().max_ambiguity) resolve_old();
  if (tree_.crowded()) compact();
}

void SearchState::renormalise() {
  const float highest = *std::max_element(beam_.total.begin(), beam_.total.end());
  for (auto* array : {&beam_.blank, &beam_.nonblank, &beam_.total}) {
    for (float& value : *array) value = std::max(value - highest, kLogZero);
  }
  offset_ += highest;
}

void SearchState::compact() {
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
    if (agreed == kNoIndex && !search_->lexicon()) agreed = first_prefix(winner);
    kept_.assign(beam_.size(), 1);
    if (agreed != kNoIndex) {
      if (!is_old(winner, agreed)) return;
      // Without a lexicon a word may have no end: what there is of it is cut off as a word.
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
  append_path(entry, node, &certain_);
  if (!certain_.empty()) certain_end_ = std::max(certain_end_, certain_.back().end_frame);
  tree_.set_root(node);
}

// Was the last token of prefix `node`, on the path to `entry`, spoken long ago?
bool SearchState::is_old(size_t entry, int32_t node) const {
  int32_t moment = moment_of(entry);
  for (int32_t at = beam_.node[entry]; at != node; at = tree_[at].parent) {
    moment = tree_.moment(moment).previous;
  }
  return frame_ - tree_.moment(moment).frame > search_->options().max_ambiguity;
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

// Appends the words on the way from the root to prefix `last`, as `entry` has spoken them.
void SearchState::append_path(size_t entry, int32_t last, std::vector<Word>* words) const {
  struct Step {
    int32_t token, moment;
  };
  std::vector<Step> steps;
  bool collect = false;
  int32_t moment = moment_of(entry);
  for (int32_t node = beam_.node[entry]; node != tree_.root(); node = tree_[node].parent) {
    collect |= node == last;
    if (collect) steps.push_back({tree_[node].token, moment});
    moment = tree_.moment(moment).previous;
  }
  std::reverse(steps.begin(), steps.end());

  int64_t floor = certain_end_;
  for (size_t begin = 0, end; begin < steps.size(); begin = end) {
    if (steps[begin].token == search_->space()) {
      end = begin + 1;
      continue;
    }
    Word word;
    float log_prob = 0.0f;
    for (end = begin; end < steps.size() && steps[end].token != search_->space(); ++end) {
      word.text += search_->tokens()[steps[end].token];
      log_prob += std::min(tree_.moment(steps[end].moment).log_prob, 0.0f);
      if (search_->space() == kNoIndex) {  // every token is a word
        ++end;
        break;
      }
    }
    word.start_frame = std::max(tree_.moment(steps[begin].moment).frame, floor);
    word.end_frame = std::max(tree_.moment(steps[end - 1].moment).frame, word.start_frame) + 1;
    word.confidence = std::exp(log_prob / static_cast<float>(end - begin));
    floor = word.end_frame;
    words->push_back(std::move(word));
  }
}

std::vector<Word> SearchState::commit() {
  std::vector<Word> words;
  words.swap(certain_);
  return words;
}

std::vector<Word> SearchState::words() const {
  std::vector<Word> words = certain_;
  const size_t entry = best();
  append_path(entry, beam_.node[entry], &words);
  return words;
}

SearchState::Ending SearchState::ending(size_t entry) {
  const int32_t node = beam_.node[entry];
  const Lexicon* lexicon = search_->lexicon();
  Ending ending{node, entry, true, beam_.total[entry], beam_.language[entry]};
  int32_t boundary = tree_[node].boundary;
  int32_t state = tree_[boundary].state;
  if (node != boundary) {
    ending.complete = !lexicon || lexicon->ends_word(beam_.spelling[entry]);
    if (ending.complete) {
      ending.language += word_language(node);
      state = tree_[node].state;
    } else {
      ending.last = boundary;
    }
  }
  // The same words with a space after them are the same hypothesis.
  if (ending.last != tree_.root() && tree_[ending.last].token == search_->space()) {
    ending.last = tree_[ending.last].parent;
  }
  ending.language += search_->alpha() * search_->language_model().finish(tree_.state(state));
  return ending;
}

// All hypotheses, one for each sequence of words, the best first.
std::vector<SearchState::Ending> SearchState::endings() {
  std::vector<Ending> all;
  bool any_complete = false;
  for (size_t i = 0; i < beam_.size(); ++i) {
    all.push_back(ending(i));
    any_complete |= all.back().complete;
  }
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
  std::sort(merged.begin(), merged.end(), better);
  return merged;
}

std::vector<Hypothesis> SearchState::finish(int n) {
  std::vector<Hypothesis> hypotheses;
  for (const Ending& ending : endings()) {
    if (hypotheses.size() == static_cast<size_t>(n)) break;
    Hypothesis hypothesis{offset_ + ending.total + ending.language, certain_};
    append_path(ending.entry, ending.last, &hypothesis.words);
    hypotheses.push_back(std::move(hypothesis));
  }
  begin_segment();
  return hypotheses;
}

size_t SearchState::bytes() const {
  size_t bytes = tree_.bytes() + certain_.capacity() * sizeof(Word);
  const auto add = [&bytes](const auto& array) { bytes += array.capacity() * sizeof(array[0]); };
  const_cast<Beam&>(beam_).each_array(add);
  const_cast<Beam&>(next_).each_array(add);
  for (const auto* array : {&emit_, &stays_, &enters_, &sorted_, &new_blank_, &new_nonblank_,
                            &new_total_, &ranks_}) {
    add(*array);
  }
  add(symbols_), add(extensions_), add(child_mask_), add(kept_);
  return bytes;
}

}  // namespace ds2
