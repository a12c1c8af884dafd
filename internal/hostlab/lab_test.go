package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tandem/internal/testenv"
)

// fakeLab is a tandem whose lab is this machine. It goes down under the first commands that it is to run.
func fakeLab(t *testing.T, deaths int) (tandem string) {
	t.Helper()
	dir := t.TempDir()
	tandem = filepath.Join(dir, "tandem")
	script := fmt.Sprintf(`#!/bin/sh
cd %q || exit 125
case $2 in
up) touch up ;;
down) rm -f up ;;
status) [ -e up ] ;;
exec)
	touch up
	if [ "$(ls | grep -c died)" -lt %d ]; then
		touch died.$$; rm up
		echo "tandem: lab: the lab went down" >&2
		exit 125
	fi
	cd "$OLDPWD" && shift 3 && exec "$@" ;;
esac
`, dir, deaths)
	if err := os.WriteFile(tandem, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return tandem
}

func TestRunInLabOnceMore(t *testing.T) {
	testenv.Need(t, testenv.GoToolchain)
	const pkg = "tandem/internal/plan"
	for _, test := range []struct {
		deaths int
		want   outcome
	}{{0, passed}, {1, passed}, {2, failed}} {
		results, err := runInLab(t.Context(), fakeLab(t, test.deaths), []selection{{pkg: pkg}})
		if err != nil {
			t.Fatal(err)
		}
		got := count(merge(nil, results))
		if ok := got.failed == 0 && got.passed > 0; ok != (test.want == passed) {
			t.Errorf("a lab that goes down %d times: %+v, want %s", test.deaths, got, test.want)
		}
	}
}
