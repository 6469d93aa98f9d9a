# A shim in Perl, which starts in 2 ms where shim.py takes 10: the same arguments, requests, output and exit codes.
#
#     shim.pl DIRECTORY OPT KIND PROGRAM [ARGUMENT ...]
#
# No module is loaded, not even `strict`: each takes longer than all of the rest. /proc says what Cwd would.
# Texts are bytes throughout. What is on the wire is described in frames.py and shim_server.py.

my $REQUEST_BYTES = 4 * 1024 * 1024;    # frames.SHIM_REQUEST_BYTES
# Of Linux; the modules that name them are slow to load.
my ($AF_UNIX, $SOCK_STREAM, $EINTR, $EAGAIN) = (1, 1, 4, 11);
my %ESCAPED = (n => "\n", t => "\t", r => "\r", b => "\b", f => "\f", "/" => "/");

# As if it were the program itself: it ends silently with Ctrl-C, and with a closed pipe.
$SIG{INT} = $SIG{PIPE} = "DEFAULT";
delete $ENV{PERL_BADLANG};              # set by the starting script, so that Perl does not complain about a locale
binmode STDIN;
binmode STDOUT;

my ($directory, $opt, $kind, $program, @arguments) = @ARGV;
my $cwd = working_directory();
my $stdin;                              # once it was read

my $fields = join ",", map { json_field($_->[0], json_text($_->[1])) }
    ["kind", $kind], ["program", $program], ["cwd", $cwd];
$fields .= "," . json_field("arguments", "[" . join(",", map { json_text($_) } @arguments) . "]");

my $connection = connected();
send_request("{$fields}");
while (1) { follow(receive()) }

# Do what one message says; exit once the reply is complete.
sub follow {
    my ($message) = @_;
    my %message = decoded($message);
    print_output($message{output}) if defined $message{output};
    my $then = defined $message{then} ? $message{then} : "";
    send_stdin() if $then eq "stdin";
    run_real(\%message) if $then eq "real";
    exit $message{exit_code} if defined $message{exit_code};
}

sub send_stdin {
    $stdin = read_stdin();
    my $reason = "standard input is too large";
    check_size(length $stdin, $reason);    # JSON is not shorter, and to make it of so much takes a second
    send_request("{$fields," . json_field("stdin", json_text($stdin, "\\ufffd")) . "}", $reason);
}

sub read_stdin {
    my $read = "";
    return $read if -t STDIN;
    while (length $read <= $REQUEST_BYTES) {    # more could not be sent, and must not be held
        my $count = sysread STDIN, $read, 65536, length $read;
        next if !defined $count && $! == $EINTR;
        last unless $count;
    }
    return $read;
}

# Become the real program. `path`: where it is looked for, by default what the emulator has put aside for it and PATH.
# `missing`: what to print when it is in none of these.
sub run_real {
    my ($message) = @_;
    my $path = find_real($message->{path});
    if (!defined $path) {
        my $missing = $message->{missing};
        complain(defined $missing && $missing ne "" ? $missing : "$program: command not found");
        exit 127;
    }
    if (defined $stdin && !-t STDIN) {
        replace_stdin();
    }
    # execvp runs a script without a line that names its interpreter by /bin/sh.
    exec { $path } $program, @arguments;
    complain("$program: $path: $!");
    exit 126;
}

sub find_real {
    my ($path) = @_;
    my @places = defined $path ? () : ("$opt/real");
    $path = $ENV{PATH} unless defined $path;
    my ($device, $inode) = stat "$opt/bin";
    for my $place (@places, split(/:/, defined $path ? $path : "", -1)) {
        $place = "." if $place eq "";
        my @place = stat $place or next;
        next if defined $inode && $place[0] == $device && $place[1] == $inode;
        return "$place/$program" if -f "$place/$program" && -x _;
    }
    return undef;
}

# Make what was read the standard input of the program that this process becomes.
sub replace_stdin {
    open my $file, "+>", undef or fail("its input cannot be kept: $!");    # a temporary file without a name
    binmode $file;
    write_all($file, $stdin) or fail("its input cannot be kept: $!");
    open STDIN, "<&", $file or fail("its input cannot be kept: $!");
    sysseek STDIN, 0, 0;
}

# The working directory; empty when it was removed.
sub working_directory {
    my $path = readlink "/proc/self/cwd";
    return "" unless defined $path;
    return $path unless $path =~ / \(deleted\)$/;    # which may also be a directory's name
    my @here = stat ".";
    my @there = stat $path;
    return @there && $here[0] == $there[0] && $here[1] == $there[1] ? $path : "";
}

# --- the connection

sub connected {
    open my $folder, "<", $directory or fail("the emulator does not answer ($!)");
    # The directory's own path may exceed what a socket address holds.
    my $address = pack "S a*", $AF_UNIX, "/proc/self/fd/" . fileno($folder) . "/init.sock\0";
    socket my $socket, $AF_UNIX, $SOCK_STREAM, 0 or fail("the emulator does not answer ($!)");
    connect $socket, $address or fail("the emulator does not answer ($!)");
    return $socket;
}

# Send a request. When the emulator has disconnected, the next read reports it.
sub send_request {
    my ($request, $reason) = @_;
    check_size(4 + length $request, $reason);
    local $SIG{PIPE} = "IGNORE";
    write_all($connection, pack("N", length $request) . $request);
}

sub check_size {
    my ($size, $reason) = @_;
    return if $size <= $REQUEST_BYTES;
    my $text = "the request has $size bytes; at most $REQUEST_BYTES are accepted";
    fail(defined $reason ? "$reason for the emulator ($text)" : "the emulator does not answer ($text)");
}

sub receive {
    my $length = read_exactly(4);
    return read_exactly(unpack "N", $length);
}

sub read_exactly {
    my ($wanted) = @_;
    my $read = "";
    while (length $read < $wanted) {
        my $count = sysread $connection, $read, $wanted - length $read, length $read;
        next if !defined $count && $! == $EINTR;
        fail("the emulator went away before it answered") unless $count;
    }
    return $read;
}

# --- output

sub print_output {
    my ($output) = @_;
    return if $output eq "" || write_all(*STDOUT, $output);
    fail("its output cannot be written: $!");
}

# Write all of a text; false with $! when that is not possible.
sub write_all {
    my ($file, $text) = @_;
    my $offset = 0;
    while ($offset < length $text) {
        my $count = syswrite $file, $text, length($text) - $offset, $offset;
        if (defined $count) {
            $offset += $count;
        } elsif ($! == $EAGAIN) {    # of a descriptor that another program has made non-blocking
            my $ready = "";
            vec($ready, fileno($file), 1) = 1;
            select undef, $ready, undef, undef;
        } elsif ($! != $EINTR) {
            return 0;
        }
    }
    return 1;
}

sub complain {
    my ($text) = @_;
    write_all(*STDERR, "$text\n");
}

sub fail {
    my ($reason) = @_;
    complain("$program: $reason");
    exit 1;
}

# --- JSON

sub json_field {
    my ($name, $value) = @_;
    return "\"$name\":$value";
}

# A text as JSON. What is not UTF-8 becomes what Python's `surrogateescape` makes of it, or $replacement where there is
# one, in which case it is as often as with Python's `replace`.
sub json_text {
    my ($text, $replacement) = @_;
    $text =~ s{
        ( [\x20\x21\x23-\x5b\x5d-\x7e]+
        | [\xc2-\xdf][\x80-\xbf]
        | (?: \xe0[\xa0-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf] | \xed[\x80-\x9f] ) [\x80-\xbf]
        | (?: \xf0[\x90-\xbf] | [\xf1-\xf3][\x80-\xbf] | \xf4[\x80-\x8f] ) [\x80-\xbf]{2} )
        | ([\x00-\x7f])
        | ( \xe0[\xa0-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf] | \xed[\x80-\x9f]    # a character that breaks off
          | \xf0[\x90-\xbf][\x80-\xbf]? | [\xf1-\xf3][\x80-\xbf]{1,2} | \xf4[\x80-\x8f][\x80-\xbf]?
          | . )
    }{
        defined $1 ? $1
            : defined $2 ? sprintf("\\u%04x", ord $2)
            : defined $replacement ? $replacement
            : join("", map { sprintf "\\udc%02x", $_ } unpack("C*", $3))
    }gesx;
    return "\"$text\"";
}

# The names and values of an object in JSON that has texts and integers, as Python writes it in ASCII.
sub decoded {
    my ($json) = @_;
    # Quotes and backslashes in texts become characters that JSON never holds, so that a quote ends its text.
    $json =~ s/\\(["\\])/$1 eq '"' ? "\x01" : "\x02"/ge;
    my %values;
    while ($json =~ /"(\w+)":(?:"([^"]*)"|(-?[0-9]+))/g) {
        my ($name, $text, $number) = ($1, $2, $3);
        $values{$name} = defined $text ? plain($text) : $number;
    }
    return %values;
}

sub plain {
    my ($text) = @_;
    $text =~ s{(\\u[0-9a-f]{4}(?:(?<=\\ud[89ab]..)\\ud[c-f]..)?)|\\(.)|([\x01\x02])}{
        defined $1 ? character($1) : defined $2 ? $ESCAPED{$2} : $3 eq "\x01" ? '"' : "\\"
    }ge;
    return $text;
}

# The bytes of a \uXXXX, or of two that are one character. Of half a pair: the byte for which `surrogateescape` put it.
sub character {
    my ($first, $second) = map { hex } $_[0] =~ /u(....)/g;
    $first = 0x10000 + (($first - 0xd800) << 10) + $second - 0xdc00 if defined $second;
    return chr($first - 0xdc00) if 0xdc80 <= $first && $first <= 0xdcff;
    return "?" if 0xd800 <= $first && $first <= 0xdfff;
    my $character = chr $first;
    utf8::encode($character);
    return $character;
}
