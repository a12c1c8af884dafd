package i8042

import "testing"

func controller() (c *Controller, resets *int) {
	resets = new(int)
	return New(func() { *resets++ }), resets
}

func status(c *Controller) byte {
	p := []byte{0}
	c.Command().Read(0, p)
	return p[0]
}

func data(c *Controller) byte {
	p := []byte{0}
	c.Data().Read(0, p)
	return p[0]
}

func TestReset(t *testing.T) {
	for _, test := range []struct {
		name    string
		command []byte
		data    []byte
		want    int
	}{
		{"pulse reset", []byte{0xFE}, nil, 1},
		{"pulse all", []byte{0xF0}, nil, 1},
		{"pulse nothing", []byte{0xFF}, nil, 0},
		{"pulse A20", []byte{0xFD}, nil, 0},
		{"output port, reset low", []byte{0xD1}, []byte{0x02}, 1},
		{"output port, reset high", []byte{0xD1}, []byte{0x03}, 0},
		{"data without a command", nil, []byte{0xFE}, 0},
	} {
		c, resets := controller()
		if test.command != nil {
			c.Command().Write(0, test.command)
		}
		if test.data != nil {
			c.Data().Write(0, test.data)
		}
		if *resets != test.want {
			t.Errorf("%s: %d resets, want %d", test.name, *resets, test.want)
		}
	}
}

// What a driver asks of a controller before it looks for keyboards.
func TestCommands(t *testing.T) {
	c, _ := controller()
	if s := status(c); s&statusOutputFull != 0 || s&(1<<1) != 0 {
		t.Errorf("status = %#x at rest", s)
	}
	for _, test := range []struct{ command, want byte }{
		{cmdSelfTest, selfTestPassed},
		{cmdTestKeyboard, portTestFailed},
		{cmdTestAux, portTestFailed},
		{cmdReadConfig, configSystem | configKeyboardOff | configAuxOff},
		{cmdReadOutput, outputAfterPowerOn},
	} {
		c.Command().Write(0, []byte{test.command})
		if status(c)&statusOutputFull == 0 {
			t.Errorf("command %#x gives no answer", test.command)
		}
		if got := data(c); got != test.want {
			t.Errorf("command %#x = %#x, want %#x", test.command, got, test.want)
		}
		if status(c)&statusOutputFull != 0 {
			t.Errorf("the answer of %#x was not taken", test.command)
		}
	}
	c.Command().Write(0, []byte{cmdWriteConfig})
	c.Data().Write(0, []byte{0x47})
	c.Command().Write(0, []byte{cmdDisableAux})
	c.Command().Write(0, []byte{cmdEnableKeyboard})
	c.Command().Write(0, []byte{cmdReadConfig})
	if got := data(c); got != 0x47|configAuxOff {
		t.Errorf("configuration = %#x", got)
	}
	c.Command().Write(0, []byte{cmdWriteAuxLoop})
	c.Data().Write(0, []byte{0xA5})
	if got := data(c); got != 0xA5 {
		t.Errorf("loopback = %#x", got)
	}
}

func FuzzController(f *testing.F) {
	f.Add([]byte{1, 0xD1, 0, 0xFE, 1, 0xFF})
	f.Fuzz(func(t *testing.T, program []byte) {
		c, resets := controller()
		for ; len(program) >= 2; program = program[2:] {
			before := *resets
			switch program[0] % 4 {
			case 0:
				c.Data().Write(0, program[1:2])
			case 1:
				c.Command().Write(0, program[1:2])
				if v := program[1]; v >= cmdPulse && v&1 == 0 && *resets != before+1 {
					t.Fatalf("command %#x does not reset", v)
				}
			case 2:
				data(c)
			case 3:
				status(c)
			}
		}
	})
}
