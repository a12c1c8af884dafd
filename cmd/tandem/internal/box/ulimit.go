package box

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// limitNames are those of getrlimit(2), without what they begin with.
var limitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}

// ParseUlimit reads the value of --ulimit: NAME=SOFT[:HARD], where -1 or "unlimited" is no limit.
func ParseUlimit(text string) (specs.POSIXRlimit, error) {
	fail := func() (specs.POSIXRlimit, error) {
		return specs.POSIXRlimit{}, wrong("--ulimit %q: want NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:4096", text)
	}
	name, values, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fail()
	}
	if !slices.Contains(limitNames, strings.ToLower(name)) {
		return specs.POSIXRlimit{}, wrong("--ulimit %q: %q is none of %s", text, name, strings.Join(limitNames, ", "))
	}
	softText, hardText, two := strings.Cut(values, ":")
	soft, err := parseLimit(softText)
	if err != nil {
		return fail()
	}
	hard := soft
	if two {
		if hard, err = parseLimit(hardText); err != nil {
			return fail()
		}
	}
	if soft > hard {
		return specs.POSIXRlimit{}, wrong("--ulimit %q: the soft limit is above the hard one", text)
	}
	return specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(name), Soft: soft, Hard: hard}, nil
}

func parseLimit(text string) (uint64, error) {
	if text == "-1" || text == "unlimited" {
		return math.MaxUint64, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", text)
	}
	return n, nil
}
