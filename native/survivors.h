// Which hypotheses live on after a frame.
#pragma once

#include <cstddef>
#include <vector>

namespace ds2 {

class Survivors {
 public:
  // Marks those of `scores` that reach `needed`, and of these the best `room`; of equal ones the
  // first.
  void add(const std::vector<float>& scores, float needed, size_t room);
  void add(size_t i) { kept_[i] = 1; }
  void clear(size_t count) { kept_.assign(count, 0); }
  bool operator[](size_t i) const { return kept_[i]; }
  size_t bytes() const { return kept_.capacity() + sorted_.capacity() * sizeof(float); }

 private:
  std::vector<char> kept_;
  std::vector<float> sorted_;
};

// The score that is `threshold` below the best, or the best where nothing is possible any more.
float score_needed(const std::vector<float>& scores, float threshold);

}  // namespace ds2
