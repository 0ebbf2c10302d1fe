#!/bin/sh
# How the files here were made: sh make.sh ../../../build/tools (after `make lm-tools`).
set -eu
tools=$1
"$tools/lmplz" -o 3 --discount_fallback <small.txt >small.arpa
# Rest costs are those of the lower orders alone.
for order in 1 2; do
  awk -v order=$order -F '\t' '
    /^ngram / { if (substr($0, 7, 1) <= order) print; next }
    /^\\[0-9]-grams/ { section = substr($0, 2, 1) + 0 }
    /^\\end/ { section = 0 }
    section > order { next }
    section == order && NF > 1 { print $1 "\t" $2; next }
    { print }' small.arpa >order$order.arpa
done
"$tools/build_binary" probing small.arpa small.probing
"$tools/build_binary" -r "order1.arpa order2.arpa" probing small.arpa small.rest_probing
"$tools/build_binary" trie small.arpa small.trie
"$tools/build_binary" -q 3 -b 3 trie small.arpa small.quant_trie
"$tools/build_binary" -a 22 trie small.arpa small.array_trie
"$tools/build_binary" -q 3 -b 3 -a 22 trie small.arpa small.quant_array_trie
rm order1.arpa order2.arpa
