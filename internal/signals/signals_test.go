package signals

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int{
		"9": 9, "KILL": 9, "SIGKILL": 9, "term": 15, "sigusr1": 10, "64": 64,
		"RTMIN": 34, "SIGRTMIN+3": 37, "RTMAX": 64, "rtmax-30": 34,
	} {
		if got, err := Parse(text); err != nil || int(got) != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "0", "-1", "65", "SIG", "NOSUCH", "RTMIN+31", "RTMIN-1", "RTMIN+", "RTMAX+1", "SIGSIGTERM",
	} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %d", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"9", "SIGTERM", "RTMIN+3", "RTMAX-99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil && (s < 1 || s > last) {
			t.Errorf("Parse(%q) = %d", text, s)
		}
	})
}
