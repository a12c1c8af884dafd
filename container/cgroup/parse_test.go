package cgroup

import (
	"reflect"
	"strings"
	"testing"
)

const (
	someFlat = "usage_usec 18446744073709551615\nuser_usec 12\nnr_periods 0\nlimit max\nlow -1\n"
	someIO   = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 cost.usage=0.5 rbytes=1\n252:0 \n"
	someBlk  = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 0\n8:0 Async 12288\n8:0 Discard 1\n8:0 Total 12289\nTotal 12289\n"
	somePSI  = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
	someCPUs = "cpu user system\n0 9543153323186 1367910787342\n3 1 2\n"
)

func TestParseFlat(t *testing.T) {
	got, err := parseFlat(someFlat)
	want := map[string]uint64{"usage_usec": 1<<64 - 1, "user_usec": 12, "nr_periods": 0, "limit": Unlimited, "low": 0}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseFlat = %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"a\n", "a b\n", "a 1 2\n", "a 18446744073709551616\n", "\n"} {
		if got, err := parseFlat(text); err == nil {
			t.Errorf("parseFlat(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseNested(t *testing.T) {
	got, err := parseNested(someIO + "7:0 7:1 rios=5\n")
	want := map[DeviceNumber]map[string]uint64{
		{8, 16}: {"rbytes": 1459200, "wbytes": 314773504, "rios": 192, "wios": 353, "dbytes": 0, "dios": 0},
		{8, 0}:  {"rbytes": 1}, {7, 1}: {"rios": 5},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseNested = %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"x rbytes=1\n", "8:0 rbytes\n", "8 rbytes=1\n", "8:-1 a=1\n"} {
		if got, err := parseNested(text); err == nil {
			t.Errorf("parseNested(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseBlkio(t *testing.T) {
	got, err := parseBlkio(someBlk)
	want := map[DeviceNumber]map[string]uint64{
		{8, 0}: {"Read": 4096, "Write": 8192, "Sync": 0, "Async": 12288, "Discard": 1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseBlkio = %v, %v, want %v", got, err, want)
	}
}

func TestParsePressure(t *testing.T) {
	got, err := parsePressure(somePSI)
	want := &Pressure{Some: PressureLine{1.5, 0.25, 0, 12345}, Full: PressureLine{Total: 7}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parsePressure = %+v, %v, want %+v", got, err, want)
	}
	if got, err := parsePressure("some avg10=x\n"); err == nil {
		t.Errorf("parsePressure of no number = %+v, want an error", got)
	}
}

func TestParseUsageAll(t *testing.T) {
	got, err := parseUsageAll(someCPUs)
	want := []PerCPU{{9543153323186, 1367910787342}, {}, {}, {1, 2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseUsageAll = %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"head\n0 1\n", "head\n1 1 1\n1 1 1\n", "head\n-1 1 1\n", "head\n99999999 1 1\n"} {
		if got, err := parseUsageAll(text); err == nil {
			t.Errorf("parseUsageAll(%q) has %d, want an error", text, len(got))
		}
	}
}

func TestParseCPUs(t *testing.T) {
	got, err := parseCPUs("0-2,7\n")
	if want := []uint16{0, 1, 2, 7}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseCPUs = %v, %v, want %v", got, err, want)
	}
	if got, err := parseCPUs("\n"); err != nil || len(got) != 0 {
		t.Errorf("parseCPUs of an empty set = %v, %v", got, err)
	}
	for _, text := range []string{"2-1", "a", "1-", "-1", "0,,1", "99999"} {
		if got, err := parseCPUs(text); err == nil {
			t.Errorf("parseCPUs(%q) = %v, want an error", text, got)
		}
	}
}

func TestParsePids(t *testing.T) {
	if got, err := parsePids("1\n4194304\n"); err != nil || !reflect.DeepEqual(got, []int{1, 4194304}) {
		t.Errorf("parsePids = %v, %v", got, err)
	}
	// A 0 would make kill(2) end the engine itself, and a negative number a whole process group.
	for _, text := range []string{"0\n", "1\n0\n", "-7\n", "x\n", "99999999999\n"} {
		if got, err := parsePids(text); err == nil {
			t.Errorf("parsePids(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzParseFiles(f *testing.F) {
	for _, text := range []string{
		someFlat, someIO, someBlk, somePSI, someCPUs, "0-3,7\n", "1\n2\n", "FROZEN\n", "populated 1\nfrozen 0\n",
		"mlx5_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=max\n", "c 1:3 rwm\nb *:* m\n", "a *:* rwm\n", "max\n", "-1\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseFlat(text)
		_, _ = parseNested(text)
		_, _ = parseBlkio(text)
		_, _ = parsePressure(text)
		_, _ = parseNumber(text)
		_, _ = parseInt(text)
		_, _ = parseFreezer(text)
		_, _ = parseEvents(text)
		parseRDMA(text)
		parseSubsystems([]byte(text))
		if all, err := parseUsageAll(text); err == nil && len(all) > 1<<16+1 {
			t.Errorf("parseUsageAll makes %d processors of %q", len(all), text)
		}
		if pids, err := parsePids(text); err == nil {
			for _, pid := range pids {
				if pid <= 0 {
					t.Errorf("parsePids(%q) has %d", text, pid)
				}
			}
		}
		if list, err := parseCPUs(text); err == nil && strings.TrimSpace(text) != "" {
			if err := checkList(strings.TrimSpace(text)); err != nil {
				t.Errorf("parseCPUs(%q) = %v, and checkList: %v", text, list, err)
			}
		}
		// What a list of devices says, its lines say again.
		if d, err := parseDeviceList([]byte(text)); err == nil && !d.allow {
			var again strings.Builder
			for _, e := range d.exceptions {
				again.WriteString(e.String() + "\n")
			}
			if second, err := parseDeviceList([]byte(again.String())); err != nil || !second.Equal(d) {
				t.Errorf("parseDeviceList(%q) = %v, written and read again %v, %v", text, d, second, err)
			}
		}
	})
}
