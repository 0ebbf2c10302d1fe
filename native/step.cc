// One frame of the search: the inner loop.
#include <algorithm>
#include <cmath>
#include <functional>

#include "processors.h"
#include "search.h"

namespace ds2 {
namespace {

// The arrays do not overlap, which lets the compiler take several hypotheses at once.
DS2_FOR_EACH_PROCESSOR
void add_stays(size_t size, float blank, const float* __restrict total,
               const float* __restrict outlook, const float* __restrict stays,
               const float* __restrict enters, float* __restrict new_blank,
               float* __restrict new_nonblank, float* __restrict new_total,
               float* __restrict ranks) {
  for (size_t i = 0; i < size; ++i) {
    new_blank[i] = total[i] + blank;
    new_nonblank[i] = log_add(stays[i], enters[i]);
    new_total[i] = log_add(new_blank[i], new_nonblank[i]);
    ranks[i] = new_total[i] + outlook[i];
  }
}

}  // namespace

void SearchState::advance(const float* log_probs, int64_t frames) {
  constexpr int64_t kSettleFrames = 8;
  search_->visit_vocabulary([&](const auto& vocabulary) {
    for (int64_t t = 0; t < frames; ++t) {
      step(divide_by_prior(log_probs + t * search_->token_count()), vocabulary);
      ++frame_;
      // Bound to the segment's frames, never to the calls: any cut gives the same words.
      if ((frame_ - segment_start_) % kSettleFrames == 0) settle();
    }
  });
}

template <class Vocabulary>
void SearchState::step(const float* frame, const Vocabulary& vocabulary) {
  const float blank = frame[search_->blank()];
  if (blank >= sure_blank_) return step_blank(blank);
  select_symbols(frame);
  stay(frame);
  Vocabulary::kHasPhrases ? find_bars_beside_phrases() : find_bar();
  extend(vocabulary);
  survive(vocabulary);
}

// What each hypothesis becomes when its prefix stays the same: a blank, its last token once more,
// or its last token now for the first time, after its parent's prefix.
void SearchState::stay(const float* frame) {
  const size_t size = beam_.size();
  const int space = search_->space();
  for (auto* array : {&emit_, &stays_, &enters_, &new_blank_, &new_nonblank_, &new_total_,
                      &ranks_}) {
    array->resize(size);
  }
  child_mask_.assign(size, 0);
  for (size_t i = 0; i < size; ++i) {
    const int32_t token = beam_.token[i];
    const float emit = token == kNoIndex ? kLogZero : std::max(frame[token], kLogZero) - shift_;
    // A space after a space is no new one, with blanks between them or without.
    stays_[i] = (token == space ? beam_.total[i] : beam_.nonblank[i]) + emit;
    const int32_t parent = tree_[beam_.node[i]].parent;
    const int32_t slot = parent == kNoIndex ? kNoIndex : tree_[parent].slot;
    enters_[i] = kLogZero;
    if (slot != kNoIndex) {
      child_mask_[slot] |= uint64_t{1} << (token & 63);
      enters_[i] = (token == beam_.token[slot] ? beam_.blank[slot] : beam_.total[slot]) + emit;
    }
    emit_[i] = emit;
  }
  const float blank = std::max(frame[search_->blank()], kLogZero) - shift_;
  add_stays(size, blank, beam_.total.data(), beam_.outlook.data(), stays_.data(), enters_.data(),
            new_blank_.data(), new_nonblank_.data(), new_total_.data(), ranks_.data());
}

// The hypotheses that stay already rule out all extensions below this score.
void SearchState::find_bar() {
  const auto [lowest, highest] = std::minmax_element(ranks_.begin(), ranks_.end());
  bar_ = std::max(*highest - search_->options().threshold, kImpossible);
  if (ranks_.size() >= static_cast<size_t>(search_->options().beam)) bar_ = std::max(bar_, *lowest);
}

// The same with phrases, apart for what only credit may save.
void SearchState::find_bars_beside_phrases() {
  const auto beam = static_cast<size_t>(search_->options().beam);
  sure_.resize(ranks_.size());
  float best = kLogZero, lowest = -kLogZero, lowest_saved = -kLogZero;
  size_t saved = 0;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    sure_[i] = is_out(i) ? kLogZero : ranks_[i] - beam_.credit[i];
    best = std::max(best, sure_[i]);
    if (beam_.saved[i]) {
      lowest_saved = std::min(lowest_saved, ranks_[i]);
      ++saved;
    } else {
      lowest = std::min(lowest, sure_[i]);
    }
  }
  bar_ = phrase_bar_ = std::max(best - search_->options().threshold, kImpossible);
  if (ranks_.size() - saved >= beam) bar_ = std::max(bar_, lowest);
  if (saved >= phrase_room()) phrase_bar_ = std::max(phrase_bar_, lowest_saved);
}

// Is hypothesis i, extended by the token, in the beam already? (stay() has counted that.)
bool SearchState::proposed(size_t i, int32_t token) const {
  if (!(child_mask_[i] >> (token & 63) & 1)) return false;
  if (search_->token_count() <= 64) return true;  // one bit per token
  const int32_t child = tree_.find(beam_.node[i], token);
  return child != kNoIndex && tree_[child].slot != kNoIndex;
}

template <class Vocabulary>
void SearchState::extend(const Vocabulary& vocabulary) {
  extensions_.clear();
  reached_.clear();
  if (symbols_.empty()) return;
  const int space = search_->space();
  // Where every token is a word, each brings its beta at once.
  const float gain = space == kNoIndex ? search_->options().beta : 0.0f;
  for (const Symbol& symbol : symbols_) {
    if (symbol.token == space) extend_by_word(vocabulary, symbol.log_prob);
  }
  const Symbol* const begin = symbols_.data();
  const Symbol* const end = begin + symbols_.size();
  uint64_t heard = 0;
  for (const Symbol& symbol : symbols_) heard |= uint64_t{1} << (symbol.token & 63);
  for (size_t i = 0, size = beam_.size(); i < size; ++i) {
    const uint64_t able = vocabulary.mask(beam_.place[i]);
    if (!(able & heard)) continue;
    const float before = beam_.total[i], blank = beam_.blank[i], language = beam_.language[i];
    const int32_t last = beam_.token[i];
    const Place from = beam_.place[i];
    const float reach = before + beam_.outlook[i] + gain;
    const float sure_reach = Vocabulary::kHasPhrases ? reach - beam_.credit[i] : reach;
    const float rise = vocabulary.rise(from);
    const float bar = bar_of(vocabulary, i);
    for (const Symbol* symbol = begin; symbol < end; ++symbol) {
      if (reach + rise + symbol->log_prob < bar) break;
      const int32_t token = symbol->token;
      if (!(able >> (token & 63) & 1) || token == space || proposed(i, token)) continue;
      Place place;
      vocabulary.listen(from, token, &place);
      if (reach + symbol->log_prob < bar_) {  // unless a phrase begins or goes on
        const float credit = vocabulary.credit(place) + vocabulary.token_boost(place);
        if (credit <= 0.0f || sure_reach + credit + symbol->log_prob < bar) continue;
      }
      if (!vocabulary.spell(from, token, &place)) continue;
      const float total = (token == last ? blank : before) + symbol->log_prob;
      float complete = language + gain + vocabulary.token_gain(from, place);
      float outlook = complete + vocabulary.outlook(place);
      const bool paid = vocabulary.token_boost(place) > 0.0f;
      if (total + outlook < bar_of(vocabulary, i, place, paid)) continue;
      if constexpr (Vocabulary::kScoresTokens) {
        const float score = token_language(i, token);
        complete += score, outlook += score;
        if (total + outlook < bar) continue;
      }
      extensions_.push_back({total + outlook, total, complete, outlook, static_cast<int32_t>(i),
                             token, place, static_cast<int32_t>(reached_.size()) - 1,
                             vocabulary.credit(place), is_saved<Vocabulary>(i) && !paid});
    }
  }
}

// Is hypothesis i saved by a phrase, and not one that the beam would extend to anyway?
bool SearchState::is_out(size_t i) const {
  if (!beam_.saved[i]) return false;
  const int32_t parent = tree_[beam_.node[i]].parent;
  const int32_t slot = parent == kNoIndex ? kNoIndex : tree_[parent].slot;
  return slot == kNoIndex || beam_.saved[slot];
}

// No extension of hypothesis i survives below this score.
template <class Vocabulary>
float SearchState::bar_of(const Vocabulary& vocabulary, size_t i) const {
  if constexpr (Vocabulary::kHasPhrases) {
    return vocabulary.may_gain(beam_.place[i]) ? std::min(bar_, phrase_bar_) : bar_;
  }
  return bar_;
}

// The same for an extension to `place`, which has completed phrases or not.
template <class Vocabulary>
float SearchState::bar_of(const Vocabulary& vocabulary, size_t i, const Place& place,
                          bool paid) const {
  if constexpr (Vocabulary::kHasPhrases) {
    if (vocabulary.credit(place) > 0.0f) return std::min(bar_, phrase_bar_);
    if (beam_.saved[i] && !paid) return -kLogZero;  // its phrase has broken off
  }
  return bar_;
}

// Asks the language model of tokens; the state after the token is the last of reached_.
float SearchState::token_language(size_t i, int32_t token) {
  const LmState& before = tree_.state(tree_[beam_.node[i]].state);
  reached_.emplace_back();
  return search_->alpha() *
         search_->language_model().score(before, search_->token_word(token), &reached_.back());
}

// Extensions by the space token: a word is complete and the language model is asked, once.
template <class Vocabulary>
void SearchState::extend_by_word(const Vocabulary& vocabulary, float log_prob) {
  const int space = search_->space();
  for (size_t i = 0; i < beam_.size(); ++i) {
    const Place from = beam_.place[i];
    if (beam_.token[i] == space || !vocabulary.ends_word(from)) continue;
    const Place place = vocabulary.after_word(from);
    const float ahead = vocabulary.outlook(place);
    const float total = beam_.total[i] + log_prob;
    const float most = search_->options().beta + vocabulary.word_gain(from) + ahead;
    const float bar = bar_of(vocabulary, i);
    if (total + beam_.language[i] + most < bar || proposed(i, space)) continue;
    float language = beam_.language[i] + word_language(vocabulary, beam_.node[i]);
    if constexpr (Vocabulary::kScoresTokens) language += token_language(i, space);
    const float outlook = language + ahead;
    const bool paid = vocabulary.word_boost(from) > 0.0f;
    if (total + outlook < bar_of(vocabulary, i, place, paid)) continue;
    extensions_.push_back({total + outlook, total, language, outlook, static_cast<int32_t>(i),
                           space, place, static_cast<int32_t>(reached_.size()) - 1,
                           vocabulary.credit(place), is_saved<Vocabulary>(i) && !paid});
  }
}

template <class Vocabulary>
void SearchState::survive(const Vocabulary& vocabulary) {
  const SearchOptions& options = search_->options();
  const auto beam = static_cast<size_t>(options.beam);
  const size_t stays = ranks_.size();
  for (const Extension& extension : extensions_) ranks_.push_back(extension.score);
  survivors_.clear(ranks_.size());
  if (Vocabulary::kHasPhrases) {
    survive_beside_phrases(stays);
  } else {
    survivors_.add(ranks_, score_needed(ranks_, options.threshold), beam);
  }
  next_.each_array([](auto& array) { array.clear(); });
  for (size_t i = 0; i < stays; ++i) {
    if (survivors_[i]) keep_entry(i);
  }
  for (size_t i = stays; i < ranks_.size(); ++i) {
    if (!survivors_[i]) continue;
    add_entry(extensions_[i - stays], vocabulary);
    if (Vocabulary::kHasPhrases) {
      next_.credit.push_back(extensions_[i - stays].credit);
      next_.saved.push_back(saved_[i]);
    }
  }
  for (const int32_t node : beam_.node) tree_[node].slot = kNoIndex;
  std::swap(beam_, next_);
  for (size_t i = 0; i < beam_.size(); ++i) tree_[beam_.node[i]].slot = static_cast<int32_t>(i);
  all_blank_ = false;
}

// The beam goes to the best without the credit for what is only begun, so that phrases which are
// not said change little. Those that only their credit saves have room of their own, and are lost
// when their phrase breaks off.
void SearchState::survive_beside_phrases(size_t stays) {
  const size_t count = ranks_.size();
  sure_.resize(count);
  for (size_t i = stays; i < count; ++i) {
    const Extension& extension = extensions_[i - stays];
    sure_[i] = extension.saved ? kLogZero : ranks_[i] - extension.credit;
  }
  const float needed = score_needed(sure_, search_->options().threshold);
  survivors_.add(sure_, needed, search_->options().beam);
  begun_.clear();
  const auto consider = [&](size_t i, float credit) {
    if (!survivors_[i] && credit > 0.0f && ranks_[i] >= needed) begun_.emplace_back(ranks_[i], i);
  };
  for (size_t i = 0; i < stays; ++i) consider(i, beam_.credit[i]);
  for (size_t i = stays; i < count; ++i) consider(i, extensions_[i - stays].credit);
  if (begun_.size() > phrase_room()) {
    const auto room = begun_.begin() + static_cast<std::ptrdiff_t>(phrase_room());
    std::nth_element(begun_.begin(), room, begun_.end(), std::greater<>());
    begun_.erase(room, begun_.end());
  }
  saved_.assign(count, 0);
  for (const auto& [score, i] : begun_) {
    survivors_.add(i);
    saved_[i] = 1;
  }
}

int32_t SearchState::add_moment(int32_t previous, float log_prob, float total) {
  const auto depth = static_cast<float>(depth_ + total);
  const float before = previous == kNoIndex ? root_depth_ : tree_.moment(previous).depth;
  return tree_.add_moment({now(), previous, log_prob, depth, depth - before});
}

void SearchState::keep_entry(size_t i) {
  int32_t nonblank_moment = beam_.nonblank_moment[i];
  if (enters_[i] > stays_[i] && enters_[i] > kImpossible) {
    const int32_t from = tree_[tree_[beam_.node[i]].parent].slot;
    const bool repeats = beam_.token[from] == beam_.token[i];
    const int32_t before = repeats ? beam_.blank_moment[from] : moment_of(from);
    nonblank_moment = add_moment(before, emit_[i] + shift_, new_total_[i]);
  } else if (nonblank_moment != kNoIndex && stays_[i] > kImpossible) {
    const Moment& peak = tree_.moment(nonblank_moment);
    const float log_prob = emit_[i] + shift_;
    if (log_prob > peak.log_prob) {
      const int32_t before = peak.previous;
      nonblank_moment = add_moment(before, log_prob, new_total_[i]);
    }
  }
  next_.blank.push_back(new_blank_[i]);
  next_.nonblank.push_back(new_nonblank_[i]);
  next_.total.push_back(new_total_[i]);
  next_.language.push_back(beam_.language[i]);
  next_.outlook.push_back(beam_.outlook[i]);
  next_.node.push_back(beam_.node[i]);
  next_.token.push_back(beam_.token[i]);
  next_.place.push_back(beam_.place[i]);
  if (search_->has_phrases()) {
    next_.credit.push_back(beam_.credit[i]);
    next_.saved.push_back(saved_[i]);
  }
  next_.nonblank_moment.push_back(nonblank_moment);
  next_.blank_moment.push_back(moment_of(i));
}

template <class Vocabulary>
void SearchState::add_entry(const Extension& extension, const Vocabulary& vocabulary) {
  const size_t from = extension.from;
  const int32_t parent = beam_.node[from];
  const int32_t space = search_->space();
  int32_t node = tree_.find(parent, extension.token);
  if (node == kNoIndex) {
    Prefix prefix;
    prefix.token = extension.token;
    prefix.place = extension.place;
    prefix.language = extension.language;
    prefix.words = tree_[parent].words;
    prefix.boundary = tree_[parent].boundary;
    const bool ends_word = space == kNoIndex || extension.token == space;
    if (ends_word && vocabulary.is_boundary(extension.place)) {
      ++prefix.words;
      prefix.boundary = static_cast<int32_t>(tree_.size());
    }
    if (Vocabulary::kScoresTokens) {
      prefix.state = tree_.add_state(reached_[extension.state]);
    } else {
      prefix.state = extension.token == space ? tree_[parent].word_state : tree_[parent].state;
    }
    node = tree_.add(parent, prefix);
  }
  const bool repeats = extension.token == beam_.token[from];
  const int32_t before = repeats ? beam_.blank_moment[from] : moment_of(from);
  const float before_it = repeats ? beam_.blank[from] : beam_.total[from];
  const float log_prob = extension.total - before_it + shift_;
  const int32_t moment = add_moment(before, log_prob, extension.total);
  next_.blank.push_back(kLogZero);
  next_.nonblank.push_back(extension.total);
  next_.total.push_back(extension.total);
  next_.language.push_back(extension.language);
  next_.outlook.push_back(extension.outlook);
  next_.node.push_back(node);
  next_.token.push_back(extension.token);
  next_.place.push_back(extension.place);
  next_.nonblank_moment.push_back(moment);
  next_.blank_moment.push_back(moment);
}

}  // namespace ds2
