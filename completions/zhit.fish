# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_zhit_global_optspecs
    string join \n host= cluster= layout= h/help V/version
end

function __fish_zhit_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_zhit_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_zhit_using_subcommand
    set -l cmd (__fish_zhit_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c zhit -n "__fish_zhit_needs_command" -l host -d 'Name of this host [default: the hostname]' -r
complete -c zhit -n "__fish_zhit_needs_command" -l cluster -d 'Name of the cluster [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_needs_command" -l layout -d 'Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]' -r -F
complete -c zhit -n "__fish_zhit_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c zhit -n "__fish_zhit_needs_command" -s V -l version -d 'Print version'
complete -c zhit -n "__fish_zhit_needs_command" -f -a "broker" -d 'Route between the clients and workers of this host'
complete -c zhit -n "__fish_zhit_needs_command" -f -a "worker" -d 'Serve requests with a program or a builtin'
complete -c zhit -n "__fish_zhit_needs_command" -f -a "client" -d 'Ask: one Hit, its replies on stdout in order'
complete -c zhit -n "__fish_zhit_needs_command" -f -a "broadcast" -d 'Ask every worker of a pool, and know when the last living one has answered'
complete -c zhit -n "__fish_zhit_needs_command" -f -a "ping" -d 'Show who is there: broker, workers, slots, round-trip times'
complete -c zhit -n "__fish_zhit_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l host -d 'Name of this host [default: the hostname]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l cluster -d 'Name of the cluster [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l layout -d 'Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]' -r -F
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l heard -d 'The highest term that the worker has heard of' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l grace -d 'On SIGTERM, let running Hits finish for this long, if no worker is there that would elect the next broker' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l interval -d 'Period of heartbeats between broker and workers [default: the layout\'s, or 1s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l liveness -d 'Heartbeats that may be missed before the other counts as silent, and gets no further Hits [default: the layout\'s, or 3]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l patience -d 'While something is asked: silence after which whoever is asked counts as hung or not reached [default: the layout\'s, or 5s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l takeover -d 'Replace a broker that was started by hand, too: ask it to leave'
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l force -d 'With --takeover: kill it instead of asking'
complete -c zhit -n "__fish_zhit_using_subcommand broker" -l elected -d 'Started by a worker'
complete -c zhit -n "__fish_zhit_using_subcommand broker" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c zhit -n "__fish_zhit_using_subcommand broker" -s V -l version -d 'Print version'
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l host -d 'Name of this host [default: the hostname]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l cluster -d 'Name of the cluster [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l layout -d 'Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]' -r -F
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l pool -d 'Pool to serve in' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l slots -d 'Threads, each of which serves one Hit at a time [default: the layout\'s, or 1]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l grace -d 'On SIGTERM, let running requests finish for this long; a handler whose deadline passed has as long before SIGKILL [default: the layout\'s, or 10s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l builtin -d 'Serve with this handler instead of a program [default: what the layout\'s pool says, or hello, which answers World]' -r -f -a "hello\t'answers World'
echo\t'answers with the request itself'
whoami\t'answers with host, worker, slot, thread id and the request\'s number'
sleep\t'sleeps as long as the request says (100ms)'
sink\t'counts and hashes the request\'s bytes'
source\t'answers with as many bytes as the request says (1048576, 10MiB)'"
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l framing -d 'Run CMD once per Hit and ask it one request after the other; how they are delimited on its stdin and stdout' -r -f -a "lines\t'one line each'
netstring\t'LENGTH:BYTES, each'
u32\t'four bytes of length, the highest first, then the bytes'"
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l warm -d 'Keep so many of them started ahead on each slot, so that no Hit waits for one to start; needs --framing' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l on-broadcast -d 'Text for /bin/sh -c that answers each broadcast, beside the slots [default: statistics, whatever is asked]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l interval -d 'Period of heartbeats between broker and workers [default: the layout\'s, or 1s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l liveness -d 'Heartbeats that may be missed before the other counts as silent, and gets no further Hits [default: the layout\'s, or 3]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -l patience -d 'While something is asked: silence after which whoever is asked counts as hung or not reached [default: the layout\'s, or 5s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand worker" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c zhit -n "__fish_zhit_using_subcommand worker" -s V -l version -d 'Print version'
complete -c zhit -n "__fish_zhit_using_subcommand client" -l host -d 'Name of this host [default: the hostname]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l cluster -d 'Name of the cluster [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l layout -d 'Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]' -r -F
complete -c zhit -n "__fish_zhit_using_subcommand client" -l builtin -d 'Handler for --local [default: hello]' -r -f -a "hello\t'answers World'
echo\t'answers with the request itself'
whoami\t'answers with host, worker, slot, thread id and the request\'s number'
sleep\t'sleeps as long as the request says (100ms)'
sink\t'counts and hashes the request\'s bytes'
source\t'answers with as many bytes as the request says (1048576, 10MiB)'"
complete -c zhit -n "__fish_zhit_using_subcommand client" -l handler -d 'Handler for --local: a text for /bin/sh -c, run for each request' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l framing -d 'Run the --handler once per Hit; how requests and replies are delimited on its stdin and stdout' -r -f -a "lines\t'one line each'
netstring\t'LENGTH:BYTES, each'
u32\t'four bytes of length, the highest first, then the bytes'"
complete -c zhit -n "__fish_zhit_using_subcommand client" -l pool -d 'Pool to ask [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l wait -d 'Wait this long for a broker and a slot [default: the layout\'s, or 5s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l timeout -d 'End each request that takes longer [default: the layout\'s, or none]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l ttl -d 'If this client vanishes, free the slot after this long [default: 15s; 10m with --open; 3s with --hold]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l route -d 'Which way requests and replies go' -r -f -a "auto\t'through the broker, and straight to the slot as soon as that answers'
direct\t'straight to the slot; an error if it does not answer within --wait'
broker\t'through the broker'"
complete -c zhit -n "__fish_zhit_using_subcommand client" -l hit -d 'Use this Hit, as $ZHIT_HIT says too, and leave it to the next command' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l close -d 'End this Hit' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l format -d 'Print replies as they are, or one JSON object each, with its status, body, time and slot' -r -f -a "text\t''
json\t''"
complete -c zhit -n "__fish_zhit_using_subcommand client" -l progress -d 'Draw a progress bar on stderr; auto: on a terminal, for what takes long' -r -f -a "auto\t''
always\t''
never\t''"
complete -c zhit -n "__fish_zhit_using_subcommand client" -l interval -d 'Period of heartbeats between broker and workers [default: the layout\'s, or 1s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l liveness -d 'Heartbeats that may be missed before the other counts as silent, and gets no further Hits [default: the layout\'s, or 3]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l patience -d 'While something is asked: silence after which whoever is asked counts as hung or not reached [default: the layout\'s, or 5s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand client" -l lines -d 'Take each line of stdin as a request'
complete -c zhit -n "__fish_zhit_using_subcommand client" -l local -d 'Run broker and worker inside this command'
complete -c zhit -n "__fish_zhit_using_subcommand client" -l hold -d 'Hold a Hit while the command REQUEST… runs: each zhit client in it uses that Hit, by $ZHIT_HIT'
complete -c zhit -n "__fish_zhit_using_subcommand client" -l open -d 'Open a Hit for other commands and print its KEY; it waits for them, for its --ttl'
complete -c zhit -n "__fish_zhit_using_subcommand client" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c zhit -n "__fish_zhit_using_subcommand client" -s V -l version -d 'Print version'
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l host -d 'Name of this host [default: the hostname]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l cluster -d 'Name of the cluster [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l layout -d 'Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]' -r -F
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l pool -d 'Pool to ask [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l to -d 'Only these: names as \'alpha/*\' or \'alpha/w[1-8,12],beta\', or @TAG for those that have this tag in the layout (man zhit-layout); may be repeated' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l batch -d 'Ask so many at a time, as 4 or 25%: the next when one has answered or is known not to' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l stop-after -d 'When so many have failed, hung, died, left or were not reached, skip the rest' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l timeout -d 'End it after this long, whoever is outstanding' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l format -d 'How replies are told' -r -f -a "text\t'each line of a reply behind its member\'s name'
json\t'one object at the end'
jsonl\t'an object for each member, as it is settled'"
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l progress -d 'Draw a progress bar on stderr; auto: on a terminal, for what takes long' -r -f -a "auto\t''
always\t''
never\t''"
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l joblog -d 'Write a job log with GNU parallel\'s columns' -r -F
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l interval -d 'Period of heartbeats between broker and workers [default: the layout\'s, or 1s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l liveness -d 'Heartbeats that may be missed before the other counts as silent, and gets no further Hits [default: the layout\'s, or 3]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l patience -d 'While something is asked: silence after which whoever is asked counts as hung or not reached [default: the layout\'s, or 5s]' -r
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l all -d 'Ask every pool'
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l allow-none -d 'Be content if nobody is there to be asked'
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -s S -d 'Exit with the largest exit code of any --on-broadcast CMD, instead of 1'
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -l fold -d 'Group identical replies, at the end, under the names of those who gave them'
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c zhit -n "__fish_zhit_using_subcommand broadcast" -s V -l version -d 'Print version'
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l host -d 'Name of this host [default: the hostname]' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l cluster -d 'Name of the cluster [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l layout -d 'Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]' -r -F
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l count -d 'Ping this many times [default: 1; 100 rounds with --hops]' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l interval -d 'From one ping to the next [default: 1s; with --hops none, each round follows the last at once]' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l wait -d 'Wait this long for each answer; with --hops also for a slot' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l wait-ready -d 'First wait up to this long until the broker answers and has a slot' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l pool -d 'With --hops: pool whose slot is leased [default: the layout\'s, or "default"]' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l request -d 'With --hops: also run the handler, with this request, once in each round' -r
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l format -d 'Print for people, or one JSON object for each ping; with --hops one in all' -r -f -a "text\t''
json\t''"
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l vote -d 'Ask each worker instead whether it would vote to kill the broker as hung; changes nothing'
complete -c zhit -n "__fish_zhit_using_subcommand ping" -l hops -d 'Lease a slot and measure each hop between a client, its broker and the slot: percentiles of round trips, in microseconds'
complete -c zhit -n "__fish_zhit_using_subcommand ping" -s h -l help -d 'Print help'
complete -c zhit -n "__fish_zhit_using_subcommand ping" -s V -l version -d 'Print version'
complete -c zhit -n "__fish_zhit_using_subcommand help; and not __fish_seen_subcommand_from broker worker client broadcast ping help" -f -a "broker" -d 'Route between the clients and workers of this host'
complete -c zhit -n "__fish_zhit_using_subcommand help; and not __fish_seen_subcommand_from broker worker client broadcast ping help" -f -a "worker" -d 'Serve requests with a program or a builtin'
complete -c zhit -n "__fish_zhit_using_subcommand help; and not __fish_seen_subcommand_from broker worker client broadcast ping help" -f -a "client" -d 'Ask: one Hit, its replies on stdout in order'
complete -c zhit -n "__fish_zhit_using_subcommand help; and not __fish_seen_subcommand_from broker worker client broadcast ping help" -f -a "broadcast" -d 'Ask every worker of a pool, and know when the last living one has answered'
complete -c zhit -n "__fish_zhit_using_subcommand help; and not __fish_seen_subcommand_from broker worker client broadcast ping help" -f -a "ping" -d 'Show who is there: broker, workers, slots, round-trip times'
complete -c zhit -n "__fish_zhit_using_subcommand help; and not __fish_seen_subcommand_from broker worker client broadcast ping help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
