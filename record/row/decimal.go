package row

import (
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/activedataflow/adf/record/internal/number"
)

var tens = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// power is 10^n.
func power(n int) *big.Int {
	if n < len(tens) {
		return big.NewInt(tens[n])
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// appendDecimal appends a decimal's digits with all of its scale: 12.50.
func appendDecimal(dst []byte, v Value) []byte {
	start := len(dst)
	if unscaled, _, small := v.SmallDecimal(); small {
		dst = strconv.AppendInt(dst, unscaled, 10)
	} else {
		dst = (*big.Int)(v.ptr).Append(dst, 10)
	}
	scale := int(v.scale)
	if scale == 0 {
		return dst
	}
	if dst[start] == '-' {
		start++
	}
	for missing := scale + 1 - (len(dst) - start); missing > 0; missing-- {
		dst = append(dst, '0')
		copy(dst[start+1:], dst[start:])
		dst[start] = '0'
	}
	dst = append(dst, 0)
	point := len(dst) - 1 - scale
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

// trimDecimal takes zeros off the end of a decimal's fraction: equal numbers get one form.
func trimDecimal(v Value) Value {
	if n, scale, small := v.SmallDecimal(); small {
		for ; scale > 0 && n%10 == 0; scale-- {
			n /= 10
		}
		return Decimal(n, scale)
	}
	n, scale := v.Decimal()
	ten := big.NewInt(10)
	for q, r := new(big.Int), new(big.Int); scale > 0; scale-- {
		if q.QuoRem(n, ten, r); r.Sign() != 0 {
			break
		}
		n, q = q, n
	}
	return BigDecimal(n, scale)
}

// rescale gives the same number with the scale of t; ok is false when digits would be lost or it has too many.
func rescale(v Value, t Type) (w Value, ok bool) {
	shift := int(t.Scale) - int(v.scale)
	if n, _, small := v.SmallDecimal(); small {
		if shift < 0 && -shift < len(tens) {
			if n%tens[-shift] != 0 {
				return v, false
			}
			return Decimal(n/tens[-shift], t.Scale), fits(n/tens[-shift], t.Precision)
		}
		if shift >= 0 && shift < len(tens) {
			if p := tens[shift]; n <= math.MaxInt64/p && n >= -math.MaxInt64/p {
				return Decimal(n*p, t.Scale), fits(n*p, t.Precision)
			}
		}
	}
	n, _ := v.Decimal()
	if shift < 0 {
		r := new(big.Int)
		if n.QuoRem(n, power(-shift), r); r.Sign() != 0 {
			return v, false
		}
	} else {
		n.Mul(n, power(shift))
	}
	return BigDecimal(n, t.Scale), n.CmpAbs(power(int(t.Precision))) < 0
}

func fits(unscaled int64, precision uint8) bool {
	if int(precision) >= len(tens) {
		return precision > 18 || unscaled < tens[18] && unscaled > -tens[18]
	}
	return unscaled < tens[precision] && unscaled > -tens[precision]
}

// parseDecimal reads a number by JSON's grammar (a plus sign and leading zeros are fine too) and gives it the scale of t.
func parseDecimal(text []byte, t Type) (Value, error) {
	digits := text
	if len(digits) > 1 && digits[0] == '+' && digits[1] != '-' {
		digits = digits[1:]
	}
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	for len(digits) > 1 && digits[0] == '0' && digits[1]-'0' <= 9 {
		digits = digits[1:]
	}
	n, end := number.Scan(digits, 0)
	if end == 0 || end != len(digits) || n.Negative {
		return Value{}, mismatch(text, t)
	}
	switch {
	case n.Cut:
	case n.Mantissa == 0:
		return Decimal(0, t.Scale), nil
	case n.Mantissa <= math.MaxInt64 && n.Exponent <= 0 && n.Exponent >= -100:
		m := int64(n.Mantissa)
		if negative {
			m = -m
		}
		if v, ok := rescale(Decimal(m, uint8(-n.Exponent)), t); ok {
			return v, nil
		}
		return Value{}, doesNotFit(text, t)
	}
	unscaled := new(big.Int)
	if !n.Cut {
		unscaled.SetUint64(n.Mantissa)
	} else {
		var plain []byte
		for _, c := range digits {
			if c|0x20 == 'e' {
				break
			}
			if c != '.' {
				plain = append(plain, c)
			}
		}
		if len(plain) > 1000 {
			return Value{}, doesNotFit(text, t)
		}
		unscaled.SetString(string(plain), 10)
	}
	if negative {
		unscaled.Neg(unscaled)
	}
	exponent := n.Exponent
	if exponent > 38 || exponent < -2000 {
		if unscaled.Sign() == 0 {
			return Decimal(0, t.Scale), nil
		}
		return Value{}, doesNotFit(text, t)
	}
	shift := exponent + int(t.Scale)
	if shift >= 0 {
		unscaled.Mul(unscaled, power(shift))
	} else {
		r := new(big.Int)
		if unscaled.QuoRem(unscaled, power(-shift), r); r.Sign() != 0 {
			return Value{}, doesNotFit(text, t)
		}
	}
	if unscaled.CmpAbs(power(int(t.Precision))) >= 0 {
		return Value{}, doesNotFit(text, t)
	}
	return BigDecimal(unscaled, t.Scale), nil
}

func doesNotFit(text []byte, t Type) error {
	return fmt.Errorf("got %s, which does not fit %s", Quote(text), t)
}
