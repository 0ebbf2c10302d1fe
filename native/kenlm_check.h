// Is a language model file sound enough to be queried? KenLM itself trusts what it maps.
#pragma once

#include <string>

namespace ds2 {

// Reads a KenLM binary once, in all six layouts, and the counts of an ARPA file. Then no query
// leaves the file or runs forever, whatever values are in it, as long as nobody changes the file.
// Throws std::runtime_error that says what is wrong, or what KenLM throws for what it cannot open.
//
// A damaged value that is a plausible one (another probability, another word) is not noticed; only
// a checksum would tell.
void check_kenlm_file(const std::string& path);

}  // namespace ds2
