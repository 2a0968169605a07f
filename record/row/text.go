package row

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/activedataflow/adf/record/internal/number"
)

// AppendText appends a scalar's text, which ParseText reads back; null is "".
//
//	bool true, false · int64 digits · float64 the shortest digits that read back, NaN, +Inf, -Inf · decimal digits with all of its scale
//	string itself · bytes base64 · timestamp RFC 3339 in UTC, with microseconds when there are any · date 2006-01-02 · duration as Go writes it
//
// Years beyond 0 to 9999 have a sign, as in ISO 8601. Lists, maps and rows are JSON, nested rows as arrays: for messages only.
func AppendText(dst []byte, v Value) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case KindInt64:
		return strconv.AppendInt(dst, v.Int(), 10)
	case KindFloat64:
		switch f := v.Float(); {
		case math.IsNaN(f):
			return append(dst, "NaN"...)
		case math.IsInf(f, 1):
			return append(dst, "+Inf"...)
		case math.IsInf(f, -1):
			return append(dst, "-Inf"...)
		default:
			return number.AppendFloat(dst, f)
		}
	case KindDecimal:
		return appendDecimal(dst, v)
	case KindString:
		return append(dst, v.Str()...)
	case KindBytes:
		return base64.StdEncoding.AppendEncode(dst, v.Bytes())
	case KindTimestamp:
		return appendTimestamp(dst, v.Int())
	case KindDate:
		return appendDate(dst, v.Int())
	case KindDuration:
		return appendDuration(dst, v.Int())
	case KindList, KindMap, KindRow:
		return appendJSONUntyped(dst, v)
	}
	return dst
}

// ParseText reads a scalar of type t; a string shares text. It is strict: no spaces around, no empty text but for string and bytes.
//
//	bool true, false in any case · int64 digits, possibly with a sign, without a fraction · float64 as Go reads it, but no hexadecimal and no
//	underscores · decimal(p,s) a number without more than s digits after the point (zeros aside), its scale becomes s
//	timestamp RFC 3339, also with a space for the T; without a zone it is UTC; what is finer than a microsecond is cut off
//	date 2006-01-02 · duration as Go reads it · bytes base64
func ParseText(text []byte, t Type) (Value, error) {
	switch t.Kind {
	case KindBool:
		switch {
		case equalFold(text, "true"):
			return Bool(true), nil
		case equalFold(text, "false"):
			return Bool(false), nil
		}
	case KindInt64:
		return parseInt(text)
	case KindFloat64:
		return parseFloat(text)
	case KindDecimal:
		return parseDecimal(text, t)
	case KindString:
		return String(share(text)), nil
	case KindBytes:
		b, err := base64.StdEncoding.AppendDecode(nil, text)
		if err == nil {
			return Bytes(b), nil
		}
	case KindTimestamp:
		if micros, ok := parseTimestamp(text); ok {
			return Timestamp(micros), nil
		}
	case KindDate:
		if days, n := parseDay(text); n > 0 && n == len(text) {
			return Date(days), nil
		}
	case KindDuration:
		d, err := time.ParseDuration(share(text))
		if err == nil {
			return DurationOf(d), nil
		}
	case KindList, KindMap, KindRow:
		return Value{}, fmt.Errorf("a text can not be a %s", t.Kind)
	}
	return Value{}, mismatch(text, t)
}

var wants = map[Kind]string{
	KindBool: "true or false", KindInt64: "an int64", KindFloat64: "a float64", KindBytes: "bytes in base64", KindTimestamp: "a timestamp as 2006-01-02T15:04:05Z",
	KindDate: "a date as 2006-01-02", KindDuration: "a duration as 1h30m",
}

func mismatch(text []byte, t Type) error {
	want, ok := wants[t.Kind]
	if !ok {
		want = "a " + t.String()
	}
	return fmt.Errorf("got %s, want %s", Quote(text), want)
}

// Quote puts a text into quotes for a message, and cuts it to a sensible length.
func Quote(text []byte) string {
	const most = 60
	if len(text) <= most {
		return strconv.Quote(string(text))
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(string(text[:cut])) + "…"
}

// share gives a string of the same memory.
func share(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func equalFold(text []byte, lower string) bool {
	if len(text) != len(lower) {
		return false
	}
	for i, c := range text {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

func parseInt(text []byte) (Value, error) {
	digits := text
	negative := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative = text[0] == '-'
		digits = text[1:]
	}
	if len(digits) == 0 {
		return Value{}, mismatch(text, Type{Kind: KindInt64})
	}
	var n uint64
	over := false
	for _, c := range digits {
		d := c - '0'
		if d > 9 {
			return Value{}, mismatch(text, Type{Kind: KindInt64})
		}
		over = over || n > (math.MaxUint64-9)/10
		n = n*10 + uint64(d)
	}
	if over || n > math.MaxInt64 && !(negative && n == 1<<63) {
		return Value{}, fmt.Errorf("got %s, which does not fit int64", Quote(text))
	}
	if negative {
		return Int(-int64(n)), nil
	}
	return Int(int64(n)), nil
}

func parseFloat(text []byte) (Value, error) {
	if n, end := number.Scan(text, 0); end > 0 && end == len(text) {
		if f, ok := n.Float(text); ok {
			return Float(f), nil
		}
	}
	for _, c := range text {
		if c == '_' || c|0x20 == 'x' {
			return Value{}, mismatch(text, Type{Kind: KindFloat64})
		}
	}
	f, err := strconv.ParseFloat(share(text), 64)
	if errors.Is(err, strconv.ErrRange) {
		return Value{}, fmt.Errorf("got %s, which does not fit float64", Quote(text))
	}
	if err != nil {
		return Value{}, mismatch(text, Type{Kind: KindFloat64})
	}
	return Float(f), nil
}

const microsPerDay = 24 * 60 * 60 * 1_000_000

// civil gives the calendar day of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
func civil(days int64) (year int64, month, day int) {
	days += 719468
	era := days / 146097
	if days < 0 && days%146097 != 0 {
		era--
	}
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp) + 3
	year = yoe + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// daysOf is the inverse of civil.
func daysOf(year int64, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 && year%400 != 0 {
		era--
	}
	yoe := year - era*400
	doy := int64((153*(month-3)+2)/5 + day - 1)
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

func appendDate(dst []byte, days int64) []byte {
	year, month, day := civil(days)
	if year >= 0 && year <= 9999 {
		dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10))
		dst = append2(dst, int(year%100))
	} else {
		sign := byte('+')
		if year < 0 {
			sign, year = '-', -year
		}
		dst = append(dst, sign)
		for limit := int64(1000); limit > 1 && year < limit; limit /= 10 {
			dst = append(dst, '0')
		}
		dst = strconv.AppendInt(dst, year, 10)
	}
	dst = append(dst, '-')
	dst = append2(dst, month)
	dst = append(dst, '-')
	return append2(dst, day)
}

// append2 appends two digits.
func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

func appendTimestamp(dst []byte, micros int64) []byte {
	days := micros / microsPerDay
	if micros%microsPerDay < 0 {
		days--
	}
	rest := micros - days*microsPerDay
	dst = appendDate(dst, days)
	seconds := int(rest / 1_000_000)
	dst = append(dst, 'T')
	dst = append2(dst, seconds/3600)
	dst = append(dst, ':')
	dst = append2(dst, seconds/60%60)
	dst = append(dst, ':')
	dst = append2(dst, seconds%60)
	if f := int(rest % 1_000_000); f != 0 {
		dst = append(dst, '.')
		dst = append2(dst, f/10_000)
		dst = append2(dst, f/100%100)
		dst = append2(dst, f%100)
	}
	return append(dst, 'Z')
}

// two reads two digits; negative when there are none.
func two(b []byte, i int) int {
	h, l := b[i]-'0', b[i+1]-'0'
	if h > 9 || l > 9 {
		return -1
	}
	return int(h)*10 + int(l)
}

var daysIn = [...]int{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// parseDay reads the calendar day that text begins with and gives its length, 0 when there is none.
func parseDay(text []byte) (days int64, n int) {
	var year int64
	i := 4
	if len(text) < 10 {
		return 0, 0
	}
	if text[0] == '+' || text[0] == '-' { // ISO 8601's expanded years: a sign, and up to nine digits
		i = 1
		for ; i < 10 && text[i]-'0' <= 9; i++ {
			year = year*10 + int64(text[i]-'0')
		}
		if i < 5 || len(text) < i+6 {
			return 0, 0
		}
		if text[0] == '-' {
			year = -year
		}
	} else {
		h, l := two(text, 0), two(text, 2)
		if h < 0 || l < 0 {
			return 0, 0
		}
		year = int64(h*100 + l)
	}
	if text[i] != '-' || text[i+3] != '-' {
		return 0, 0
	}
	month, day := two(text, i+1), two(text, i+4)
	if month < 1 || month > 12 || day < 1 || day > daysIn[month] && !(month == 2 && day == 29 && year%4 == 0 && (year%100 != 0 || year%400 == 0)) {
		return 0, 0
	}
	return daysOf(year, month, day), i + 6
}

// parseTimestamp reads RFC 3339, with a space allowed for the T, and no zone for UTC.
func parseTimestamp(text []byte) (micros int64, ok bool) {
	days, n := parseDay(text)
	if n == 0 || len(text) < n+9 || text[n]|0x20 != 't' && text[n] != ' ' || text[n+3] != ':' || text[n+6] != ':' {
		return 0, false
	}
	hour, minute, second := two(text, n+1), two(text, n+4), two(text, n+7)
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, false
	}
	micros = int64(hour*3600+minute*60+second) * 1_000_000
	rest := text[n+9:]
	if len(rest) > 0 && rest[0] == '.' {
		i, unit := 1, int64(100_000)
		for ; i < len(rest) && rest[i]-'0' <= 9; i++ {
			micros += int64(rest[i]-'0') * unit
			unit /= 10
		}
		if i == 1 {
			return 0, false
		}
		rest = rest[i:]
	}
	switch {
	case len(rest) == 0 || len(rest) == 1 && rest[0]|0x20 == 'z':
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, m := two(rest, 1), two(rest, 4)
		if h < 0 || h > 23 || m < 0 || m > 59 {
			return 0, false
		}
		zone := int64(h*3600+m*60) * 1_000_000
		if rest[0] == '-' {
			zone = -zone
		}
		micros -= zone
	default:
		return 0, false
	}
	if most := int64(math.MaxInt64 / microsPerDay); days >= most || days <= -most {
		return 0, false
	}
	return days*microsPerDay + micros, true
}

// appendDuration appends what time.Duration.String gives, for every number of microseconds.
func appendDuration(dst []byte, micros int64) []byte {
	u := uint64(micros)
	if micros < 0 {
		dst = append(dst, '-')
		u = -u
	}
	switch {
	case u == 0:
		return append(dst, "0s"...)
	case u < 1000:
		return append(strconv.AppendUint(dst, u, 10), "µs"...)
	case u < 1_000_000:
		dst = appendFraction(strconv.AppendUint(dst, u/1000, 10), u%1000, 100)
		return append(dst, "ms"...)
	}
	seconds := u / 1_000_000
	if seconds >= 3600 {
		dst = append(strconv.AppendUint(dst, seconds/3600, 10), 'h')
	}
	if seconds >= 60 {
		dst = append(strconv.AppendUint(dst, seconds/60%60, 10), 'm')
	}
	dst = appendFraction(strconv.AppendUint(dst, seconds%60, 10), u%1_000_000, 100_000)
	return append(dst, 's')
}

// appendFraction appends a point and the digits of n, whose first has the weight unit, without zeros at the end.
func appendFraction(dst []byte, n, unit uint64) []byte {
	if n > 0 {
		dst = append(dst, '.')
	}
	for ; n > 0; unit /= 10 {
		dst = append(dst, byte('0'+n/unit))
		n %= unit
	}
	return dst
}
