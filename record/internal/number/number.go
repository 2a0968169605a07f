// Package number reads and writes decimal texts of numbers without allocating; record/row and record/format share it.
package number

import (
	"math"
	"strconv"
	"unsafe"
)

// Number is a number as its text says it: ±Mantissa × 10^Exponent.
type Number struct {
	Mantissa uint64
	Exponent int
	Negative bool
	// Whole says that there is neither point nor exponent.
	Whole bool
	// Cut says that there are more digits than Mantissa holds: ask the text.
	Cut bool
}

// Scan reads the number at b[i:] by JSON's grammar and gives the place behind it; i itself when there is none.
func Scan(b []byte, i int) (n Number, end int) {
	start := i
	if i < len(b) && b[i] == '-' {
		n.Negative = true
		i++
	}
	first := i
	var m uint64
	for ; i < len(b); i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		m = m*10 + uint64(d)
	}
	digits := i - first
	if digits == 0 || digits > 1 && b[first] == '0' {
		return Number{}, start
	}
	n.Whole = true
	if i < len(b) && b[i] == '.' {
		n.Whole = false
		i++
		point := i
		for ; i < len(b); i++ {
			d := b[i] - '0'
			if d > 9 {
				break
			}
			m = m*10 + uint64(d)
		}
		if i == point {
			return Number{}, start
		}
		digits += i - point
		n.Exponent = point - i
	}
	n.Mantissa = m
	if digits > 19 {
		n.Cut = true // conservative: leading zeros behind the point count too
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		n.Whole = false
		var e int
		if e, i = exponent(b, i+1); i < 0 {
			return Number{}, start
		}
		n.Exponent += e
	}
	return n, i
}

// exponent reads what stands behind the e; the place is -1 when it is none. It saturates far beyond any number.
func exponent(b []byte, i int) (e, end int) {
	negative := false
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		negative = b[i] == '-'
		i++
	}
	first := i
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if e < 1_000_000 {
			e = e*10 + int(b[i]-'0')
		}
	}
	if i == first {
		return 0, -1
	}
	if negative {
		e = -e
	}
	return e, i
}

// Int gives the number as an int64; ok is false when it has a fraction or does not fit.
func (n Number) Int() (v int64, ok bool) {
	m := n.Mantissa
	if !n.Whole {
		e := n.Exponent
		for ; e < 0 && m%10 == 0 && m != 0; e++ {
			m /= 10
		}
		for ; e > 0 && m != 0; e-- {
			if m > math.MaxUint64/10 {
				return 0, false
			}
			m *= 10
		}
		if m != 0 && e != 0 {
			return 0, false
		}
	}
	if n.Cut || m > math.MaxInt64 && !(n.Negative && m == 1<<63) {
		return 0, false
	}
	if n.Negative {
		return -int64(m), true
	}
	return int64(m), true
}

var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// Float gives the nearest float64; ok is false when it is beyond all of them. Text is what Scan read n from.
func (n Number) Float(text []byte) (f float64, ok bool) {
	// Both numbers are exact and the one operation rounds once (Clinger 1990).
	if n.Mantissa < 1<<53 && !n.Cut && n.Exponent <= 22 && n.Exponent >= -22 {
		f = float64(n.Mantissa)
		if n.Exponent < 0 {
			f /= powers[-n.Exponent]
		} else {
			f *= powers[n.Exponent]
		}
		if n.Negative {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	return f, err == nil
}

// AppendFloat appends the shortest text that reads back as f, which is finite: with an exponent where the digits alone are long, as in
// JSON made elsewhere.
func AppendFloat(dst []byte, f float64) []byte {
	a := math.Abs(f)
	if a < 1e11 {
		// A decimal of at most 15 digits that reads back as f is the shortest there is.
		if m := int64(a * 1000); float64(m)/1000 == a && (f != 0 || !math.Signbit(f)) {
			if f < 0 {
				dst = append(dst, '-')
			}
			dst = strconv.AppendInt(dst, m/1000, 10)
			if m %= 1000; m == 0 {
				return dst
			}
			dst = append(dst, '.', byte('0'+m/100))
			if m %= 100; m == 0 {
				return dst
			}
			dst = append(dst, byte('0'+m/10))
			if m %= 10; m == 0 {
				return dst
			}
			return append(dst, byte('0'+m))
		}
	}
	if a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
