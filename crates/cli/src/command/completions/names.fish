
# Names that only the machine knows: of labels, attached programs and network namespaces.
function __sklookup_names
    set -l words (commandline -opc)
    set -l netns
    for place in (seq 2 (math (count $words) - 1))
        test "$words[$place]" = --netns; and set netns --netns $words[(math $place + 1)]
    end
    $words[1] $netns complete-names $argv[1] 2>/dev/null
end

complete -c sklookup -l netns -x -a "(__sklookup_names namespaces)"
complete -c sklookup -n "__fish_seen_subcommand_from list" -l label -x -a "(__sklookup_names labels)"
complete -c sklookup -n "__fish_seen_subcommand_from explain" -l to -x -a "(__sklookup_names labels)"
complete -c sklookup -n "__fish_seen_subcommand_from register unregister bind" -f -a "(__sklookup_names labels)"
complete -c sklookup -n "__fish_seen_subcommand_from detach" -f -a "(__sklookup_names attached)"
complete -c sklookup -n "__fish_seen_subcommand_from attach" -l name -x -a "(__sklookup_names attached)"
