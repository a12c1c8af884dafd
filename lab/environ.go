package lab

import (
	"path"
	"slices"
	"strings"
)

// Passed are the variables that commands in the lab get from whoever starts them; a * stands for any letters. All
// others name what the lab has not got, or are nobody's business there.
var Passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ",
	"TERM", "COLORTERM", "NO_COLOR", "LANG", "LANGUAGE", "LC_*",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
	"GO*", "CGO_*", "TANDEM_*",
}

// Environ picks from an environment what is passed on.
func Environ(environ []string) []string {
	var picked []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if slices.ContainsFunc(Passed, func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil
		}) {
			picked = append(picked, pair)
		}
	}
	return picked
}
