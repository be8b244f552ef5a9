
# Names that only the machine knows: of labels, attached programs and network namespaces.
_sklookup_names() {
    local what=$1 netns=() place
    for ((place = 1; place < COMP_CWORD - 1; place++)); do
        [[ ${COMP_WORDS[place]} == --netns ]] && netns=(--netns "${COMP_WORDS[place + 1]}")
    done
    local IFS=$'\n'
    COMPREPLY+=($(compgen -W "$("${COMP_WORDS[0]}" "${netns[@]}" complete-names "$what" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}

_sklookup_and_names() {
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --netns) COMPREPLY=(); _sklookup_names namespaces ;;
        --label | --to) COMPREPLY=(); _sklookup_names labels ;;
        --name) COMPREPLY=(); _sklookup_names attached ;;
        detach) _sklookup "$@"; _sklookup_names attached ;;
        register | unregister | bind) _sklookup "$@"; _sklookup_names labels ;;
        *) _sklookup "$@" ;;
    esac
}
complete -F _sklookup_and_names -o nosort -o bashdefault -o default sklookup
