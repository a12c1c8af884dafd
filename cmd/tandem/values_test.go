package main

import "testing"

func TestSizeValue(t *testing.T) {
	for _, test := range []struct {
		text string
		want uint64
		back string
	}{
		{"0", 0, "0"},
		{"4096", 4096, "4K"},
		{"1000", 1000, "1000"},
		{"16M", 16 << 20, "16M"},
		{"16m", 16 << 20, "16M"},
		{"512MiB", 512 << 20, "512M"},
		{"512MB", 512 << 20, "512M"},
		{"5G", 5 << 30, "5G"},
		{"1536M", 1536 << 20, "1536M"},
		{"2T", 2 << 40, "2T"},
	} {
		var s sizeValue
		if err := s.Set(test.text); err != nil || uint64(s) != test.want || s.String() != test.back {
			t.Errorf("Set(%q) = %d (%s), %v, want %d (%s)", test.text, s, s.String(), err, test.want, test.back)
		}
	}
	for _, text := range []string{"", "M", "-1M", "1.5G", "12X", "16 M", "9000000T", "18446744073709551616", "0x10"} {
		s := sizeValue(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("Set(%q) = %d, %v, want an error and nothing set", text, s, err)
		}
	}
}
