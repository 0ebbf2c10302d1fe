// Segments, and the words that are certain.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "search.h"

namespace ds2 {
namespace {

constexpr int32_t kLookBehind = 16;  // frames before a word that its times may need

}  // namespace

SearchState::SearchState(std::shared_ptr<const Search> search) : search_(std::move(search)) {
  find_limits();
  begin_segment();
}

void SearchState::find_limits() {
  const SearchOptions& options = search_->options();
  const float rest = 1.0f - options.cutoff;
  floor_log_prob_ = rest > 0.0f ? std::log(rest / static_cast<float>(search_->token_count()))
                                : -std::numeric_limits<float>::infinity();
  sure_blank_ = std::log(std::max(options.cutoff, 0.5f));
}

void SearchState::use(std::shared_ptr<const Search> search) {
  if (!search->has_words_of(*search_)) {
    throw std::invalid_argument(
        "other words or another language model need a new segment; only phrases and options can "
        "change within one");
  }
  search_ = std::move(search);
  find_limits();
  search_->visit_vocabulary([this](const auto& vocabulary) { place_again(vocabulary); });
}

// Where all prefixes are in the phrases that are new.
template <class Vocabulary>
void SearchState::place_again(const Vocabulary& vocabulary) {
  for (int32_t node = tree_.root(); node < static_cast<int32_t>(tree_.size()); ++node) {
    Prefix& prefix = tree_[node];
    if (node == tree_.root()) {
      prefix.place.phrase = Phrases::kBetween;
      continue;
    }
    prefix.asked = false;  // what the word brings, may be another
    if (prefix.token == search_->space()) {
      prefix.place.phrase = vocabulary.after_word(tree_[prefix.parent].place).phrase;
    } else {
      vocabulary.listen(tree_[prefix.parent].place, prefix.token, &prefix.place);
    }
  }
  const size_t used = search_->has_phrases() ? beam_.size() : 0;
  beam_.credit.resize(used);
  beam_.saved.assign(used, 0);
  for (size_t i = 0; i < beam_.size(); ++i) {
    const Place place = beam_.place[i] = tree_[beam_.node[i]].place;
    beam_.outlook[i] = beam_.language[i] + vocabulary.outlook(place);
    if (search_->has_phrases()) beam_.credit[i] = vocabulary.credit(place);
  }
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
  has_cut_ = false;
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
      if (first_boundary(winner) == kNoIndex) {
        // A word may have no end: what there is of it is cut off as a word.
        agreed = beam_.node[winner];
        has_cut_ = true;
      }
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

size_t SearchState::bytes() const {
  size_t bytes = tree_.bytes() + heard_.bytes() + survivors_.bytes();
  const auto add = [&bytes](const auto& array) { bytes += array.capacity() * sizeof(array[0]); };
  const_cast<Beam&>(beam_).each_array(add);
  const_cast<Beam&>(next_).each_array(add);
  for (const auto* array : {&emit_, &stays_, &enters_, &sure_, &new_blank_, &new_nonblank_,
                            &new_total_, &ranks_}) {
    add(*array);
  }
  add(certain_), add(symbols_), add(extensions_), add(child_mask_), add(kept_), add(saved_);
  add(begun_), add(reached_), add(divided_);
  return bytes;
}

}  // namespace ds2
