#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "log_math.h"
#include "survivors.h"

using namespace ds2;

namespace {

std::vector<int> chosen(const std::vector<float>& scores, float needed, size_t room) {
  Survivors survivors;
  survivors.clear(scores.size());
  survivors.add(scores, needed, room);
  std::vector<int> indices;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (survivors[i]) indices.push_back(static_cast<int>(i));
  }
  return indices;
}

}  // namespace

TEST_CASE("the best survive, of equal ones the first") {
  const std::vector<float> scores{3, 1, 2, 2, 5, 2};
  CHECK(chosen(scores, 0, 6) == std::vector<int>{0, 1, 2, 3, 4, 5});
  CHECK(chosen(scores, 2, 6) == std::vector<int>{0, 2, 3, 4, 5});
  CHECK(chosen(scores, 0, 4) == std::vector<int>{0, 2, 3, 4});
  CHECK(chosen(scores, 0, 1) == std::vector<int>{4});
  CHECK(chosen(scores, 6, 4).empty());
}

TEST_CASE("where nothing is possible any more, the best is kept") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(score_needed({1, 5, 3}, 3) == 2);
  CHECK(score_needed({1, 5, 3}, infinity) == kImpossible);
  CHECK(score_needed({kLogZero, 2 * kLogZero}, 3) == kLogZero);
}
