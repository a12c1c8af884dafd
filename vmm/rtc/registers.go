package rtc

// Register indices.
const (
	regSeconds      = 0x00
	regSecondsAlarm = 0x01
	regMinutes      = 0x02
	regMinutesAlarm = 0x03
	regHours        = 0x04
	regHoursAlarm   = 0x05
	regWeekday      = 0x06
	regDay          = 0x07
	regMonth        = 0x08
	regYear         = 0x09
	regA            = 0x0A
	regB            = 0x0B
	regC            = 0x0C
	regD            = 0x0D
	regCentury      = 0x32
)

const (
	// aUpdating (UIP) says that the registers change within 244 microseconds.
	aUpdating = 1 << 7
	// aPowerOn is a 32768 Hz crystal and a periodic rate of 1024 Hz, as PC
	// firmware sets them.
	aPowerOn = 0x26

	bDST    = 1 << 0
	b24Hour = 1 << 1
	bBinary = 1 << 2
	bSquare = 1 << 3
	bUpdate = 1 << 4 // interrupt each second
	bAlarm  = 1 << 5 // interrupt at the alarm time
	bPeriod = 1 << 6
	bSet    = 1 << 7 // the clock is stopped to be set

	cUpdate = 1 << 4
	cAlarm  = 1 << 5
	cIRQ    = 1 << 7

	dValid = 1 << 7

	// alarmAny is the first of the alarm values that match always.
	alarmAny = 0xC0
	// hourPM marks the afternoon in 12-hour mode.
	hourPM = 1 << 7
)

// memorySize is how many bytes an index of seven bits reaches. The eighth bit
// of port 0x70 gates NMI, which nothing here makes.
const memorySize = 128
