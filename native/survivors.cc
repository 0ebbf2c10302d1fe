#include "survivors.h"

#include <algorithm>
#include <functional>

#include "log_math.h"

namespace ds2 {

void Survivors::add(const std::vector<float>& scores, float needed, size_t room) {
  sorted_.resize(scores.size());
  size_t able = 0;
  for (size_t i = 0; i < scores.size(); ++i) {  // without a branch that is hard to foresee
    sorted_[able] = scores[i];
    able += scores[i] >= needed;
  }
  if (able == 0) return;
  size_t ties = able;  // room for those that just reach what is needed
  if (able > room) {
    const auto begin = sorted_.begin(), end = begin + static_cast<std::ptrdiff_t>(room);
    std::nth_element(begin, end - 1, begin + static_cast<std::ptrdiff_t>(able),
                     std::greater<float>());
    needed = *(end - 1);
    ties = std::count(begin, end, needed);
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == needed) {
      if (ties == 0) continue;
      --ties;
    }
    kept_[i] = scores[i] >= needed;
  }
}

float score_needed(const std::vector<float>& scores, float threshold) {
  const float best = *std::max_element(scores.begin(), scores.end());
  return std::min(best, std::max(best - threshold, kImpossible));
}

}  // namespace ds2
