
# Names that only the machine knows: of labels, attached programs and network namespaces.
_sklookup_names() {
    local -a names netns
    local place=${words[(i)--netns]}
    (( place < CURRENT - 1 )) && netns=(--netns "${words[place + 1]}")
    names=("${(@f)$(_call_program names sklookup "${(@q)netns}" complete-names $1)}")
    (( ${#names[1]} )) && compadd -a names
}
_sklookup_labels() { _sklookup_names labels }
_sklookup_attached() { _sklookup_names attached }
_sklookup_namespaces() { _sklookup_names namespaces }
