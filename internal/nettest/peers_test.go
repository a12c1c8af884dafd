package nettest

import (
	"strings"
	"testing"
)

// TestParseIPerf3 takes reports for failures that a client ends with status 0 for, as it does with --json.
func TestParseIPerf3(t *testing.T) {
	const good = `{"start": {"test_start": {"reverse": 0}}, "end": {"sum_sent": {"bytes": 9}, "sum_received": {"bytes": 8, "bits_per_second": 64}}}`
	for _, test := range []struct {
		report  string
		reverse bool
		want    string
	}{
		{good, false, ""},
		{strings.Replace(good, `"reverse": 0`, `"reverse": 1`, 1), true, ""},
		{good, true, "reverse is 0"},
		{strings.Replace(good, `"bytes": 8`, `"bytes": 0`, 1), false, "9 bytes were sent, 0 received"},
		{strings.Replace(good, `{"start"`, `{"error": "control socket has closed unexpectedly", "start"`, 1), false, "control socket"},
		{`{"start": {"connected": []}, "intervals": [], "end": {}, "error": "unable to connect to server: Connection refused"}`, false, "refused"},
		{"iperf3: not found", false, "invalid character"},
		{"", false, "unexpected end"},
	} {
		rate, err := parseIPerf3(test.report, test.reverse)
		switch {
		case test.want == "" && (err != nil || rate != 64):
			t.Errorf("parseIPerf3(%s, %v) = %v, %v", test.report, test.reverse, rate, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("parseIPerf3(%s, %v): %v, want %q", test.report, test.reverse, err, test.want)
		}
	}
}
