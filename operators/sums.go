package operators

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/bits"

	"github.com/activedataflow/adf/record/row"
)

// acc is one accumulator of one group. Sums are exact, so it does not matter in which order values and parts come: whole numbers are added in
// 128 bits, decimals without bound, floating-point numbers as a short list of numbers whose sum is exact (J. R. Shewchuk, "Adaptive Precision
// Floating-Point Arithmetic", 1997) of which two have their place here.
type acc struct {
	n    int64  // values
	a, b uint64 // sums: low and high half, the two parts, or unscaled number and scale; the bits of a least or greatest value
	p    *wide  // what does not fit
}

// wide is the rest of an accumulator that needs more than two words.
type wide struct {
	parts   []float64 // all parts of a sum, from the least one, when there are more than two
	special uint8     // which of NaN, +Inf and -Inf were added
	fixed   *big.Int  // the sum times 2^1074 when it is nearly too large for parts
	big     *big.Int  // the unscaled sum of decimals, or the unscaled least or greatest
	text    []byte    // the least or greatest string
}

const (
	sawNaN uint8 = 1 << iota
	sawPlus
	sawMinus
)

// reset makes it an accumulator that has seen nothing; memory stays.
func (s *acc) reset() {
	s.n, s.a, s.b = 0, 0, 0
	if w := s.p; w != nil {
		w.parts, w.special, w.fixed, w.big, w.text = w.parts[:0], 0, nil, nil, w.text[:0]
	}
}

func (s *acc) wide() *wide {
	if s.p == nil {
		s.p = &wide{}
	}
	return s.p
}

// addInt adds a whole number.
func (s *acc) addInt(v int64) {
	var carry uint64
	s.a, carry = bits.Add64(s.a, uint64(v), 0)
	s.b += uint64(v>>63) + carry
}

// mergeInt adds another sum of whole numbers.
func (s *acc) mergeInt(o *acc) {
	var carry uint64
	s.a, carry = bits.Add64(s.a, o.a, 0)
	s.b += o.b + carry
}

// int64 gives the sum of whole numbers; ok is false when it does not fit.
func (s *acc) int64() (sum int64, ok bool) { return int64(s.a), int64(s.b) == int64(s.a)>>63 }

// int gives the sum of whole numbers.
func (s *acc) int() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(int64(s.b)), 64)
	return n.Add(n, new(big.Int).SetUint64(s.a))
}

// large is the size from which on parts might overflow.
const large = 0x1p1000

// addFloat adds a floating-point number.
func (s *acc) addFloat(x float64) {
	if s.p == nil || len(s.p.parts) == 0 && s.p.fixed == nil {
		a := math.Float64frombits(s.a)
		x1, low := twoSum(x, math.Float64frombits(s.b))
		hi, mid := twoSum(x1, a)
		if math.Abs(hi) < large && math.Abs(x1) < large { // false for what is not a number too
			switch {
			case low == 0:
				s.a, s.b = math.Float64bits(hi), math.Float64bits(mid)
			case mid == 0:
				s.a, s.b = math.Float64bits(hi), math.Float64bits(low)
			default:
				w := s.wide()
				w.parts = append(w.parts, low, mid, hi)
				s.a, s.b = 0, 0
			}
			return
		}
	}
	s.addWide(x)
}

// twoSum gives a+b and what rounding has cost (D. Knuth).
func twoSum(a, b float64) (sum, lost float64) {
	sum = a + b
	t := sum - a
	return sum, (a - (sum - t)) + (b - t)
}

func (s *acc) addWide(x float64) {
	w := s.wide()
	switch {
	case x != x:
		w.special |= sawNaN
		return
	case math.IsInf(x, 1):
		w.special |= sawPlus
		return
	case math.IsInf(x, -1):
		w.special |= sawMinus
		return
	}
	if w.fixed == nil && len(w.parts) > 0 && math.Abs(x) < large {
		kept := 0
		for _, y := range w.parts {
			sum, lost := twoSum(x, y)
			if lost != 0 {
				w.parts[kept] = lost
				kept++
			}
			x = sum
		}
		w.parts = append(w.parts[:kept], x)
		if math.Abs(x) < large {
			return
		}
		x = 0
	}
	if w.fixed == nil {
		w.fixed = s.exact()
		s.a, s.b, w.parts = 0, 0, w.parts[:0]
	}
	addFixed(w.fixed, x)
}

// exact gives the sum times 2^1074, which is a whole number.
func (s *acc) exact() *big.Int {
	sum := new(big.Int)
	if s.p != nil && s.p.fixed != nil {
		return sum.Set(s.p.fixed)
	}
	addFixed(sum, math.Float64frombits(s.a))
	addFixed(sum, math.Float64frombits(s.b))
	if s.p != nil {
		for _, x := range s.p.parts {
			addFixed(sum, x)
		}
	}
	return sum
}

func addFixed(sum *big.Int, x float64) {
	frac, exp := math.Frexp(x) // x = frac * 2^53 * 2^(exp-53)
	n := big.NewInt(int64(frac * (1 << 53)))
	if shift := exp - 53 + 1074; shift >= 0 {
		n.Lsh(n, uint(shift))
	} else {
		n.Quo(n, new(big.Int).Lsh(big.NewInt(1), uint(-shift))) // a subnormal number: exact
	}
	sum.Add(sum, n)
}

// mergeFloat adds another sum of floating-point numbers.
func (s *acc) mergeFloat(o *acc) {
	s.addFloat(math.Float64frombits(o.a))
	s.addFloat(math.Float64frombits(o.b))
	if o.p == nil {
		return
	}
	for _, x := range o.p.parts {
		s.addFloat(x)
	}
	if o.p.special != 0 {
		s.wide().special |= o.p.special
	}
	if o.p.fixed != nil {
		if w := s.wide(); w.fixed == nil {
			w.fixed = s.exact()
			s.a, s.b, w.parts = 0, 0, w.parts[:0]
		}
		s.p.fixed.Add(s.p.fixed, o.p.fixed)
	}
}

// float64 gives the sum, rounded once, divided by n.
func (s *acc) float64(n int64) float64 {
	sum := math.Float64frombits(s.a) + math.Float64frombits(s.b)
	w := s.p
	if w == nil || w.special == 0 && w.fixed == nil && len(w.parts) == 0 {
		return sum / float64(n)
	}
	switch {
	case w.special&sawNaN != 0 || w.special&sawPlus != 0 && w.special&sawMinus != 0:
		return math.NaN()
	case w.special&sawPlus != 0:
		return math.Inf(1)
	case w.special&sawMinus != 0:
		return math.Inf(-1)
	}
	f := new(big.Float).SetInt(s.exact())
	f.SetMantExp(f, -1074)
	sum, _ = f.Float64()
	if math.IsInf(sum, 0) && n > 1 {
		sum, _ = f.Quo(f, new(big.Float).SetInt64(n)).Float64()
		return sum
	}
	return sum / float64(n)
}

// setDecimal makes v the accumulator's number.
func (s *acc) setDecimal(v row.Value) {
	if n, scale, ok := v.SmallDecimal(); ok {
		s.a, s.b = uint64(n), uint64(scale)
		if s.p != nil {
			s.p.big = nil
		}
		return
	}
	n, scale := v.Decimal()
	s.a, s.b, s.wide().big = 0, uint64(scale), n
}

// decimal gives the accumulator's number.
func (s *acc) decimal() row.Value {
	if s.p != nil && s.p.big != nil {
		return row.BigDecimal(new(big.Int).Set(s.p.big), uint8(s.b))
	}
	return row.Decimal(int64(s.a), uint8(s.b))
}

// addDecimal adds a decimal.
func (s *acc) addDecimal(v row.Value) {
	if n, scale, ok := v.SmallDecimal(); ok && uint64(scale) == s.b && (s.p == nil || s.p.big == nil) {
		if sum := int64(s.a) + n; (sum > int64(s.a)) == (n > 0) {
			s.a = uint64(sum)
			return
		}
	}
	sum, scale := s.decimal().Decimal()
	n, other := v.Decimal()
	for ; scale < other; scale++ {
		sum.Mul(sum, ten)
	}
	for ; other < scale; other++ {
		n.Mul(n, ten)
	}
	s.setDecimal(row.BigDecimal(sum.Add(sum, n), scale))
}

var ten = big.NewInt(10)

// appendInt128 appends a sum of whole numbers: zigzag, seven bits a byte.
func (s *acc) appendInt128(dst []byte) []byte {
	sign := uint64(int64(s.b) >> 63)
	hi, lo := (s.b<<1|s.a>>63)^sign, s.a<<1^sign
	for hi != 0 || lo >= 0x80 {
		dst = append(dst, byte(lo)|0x80)
		lo, hi = lo>>7|hi<<57, hi>>7
	}
	return append(dst, byte(lo))
}

func (s *acc) readInt128(data []byte) (rest []byte, err error) {
	var lo, hi uint64
	for i := 0; i < len(data) && i < 19; i++ {
		c, shift := uint64(data[i]&0x7f), uint(7*i)
		if shift < 64 {
			lo |= c << shift
			if shift > 57 {
				hi |= c >> (64 - shift)
			}
		} else {
			hi |= c << (shift - 64)
		}
		if data[i] < 0x80 {
			sign := -(lo & 1)
			s.a, s.b = (lo>>1|hi<<63)^sign, (hi>>1)^sign
			return data[i+1:], nil
		}
	}
	return nil, errTruncated
}

// The forms of a sum of floating-point numbers: parts with their number, or the fixed-point number; special numbers are or-ed to them.
const fixedForm = 1 << 3

func (s *acc) appendFloat(dst []byte) []byte {
	w := s.p
	if w == nil {
		w = &wide{}
	}
	if w.fixed != nil {
		form := w.special | fixedForm
		if w.fixed.Sign() < 0 {
			form |= 2 * fixedForm
		}
		abs := w.fixed.Bytes()
		dst = binary.AppendUvarint(append(dst, form), uint64(len(abs)))
		return append(dst, abs...)
	}
	dst = append(dst, w.special)
	if len(w.parts) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(w.parts)))
		for _, x := range w.parts {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
		}
		return dst
	}
	two := [2]uint64{s.b, s.a}
	parts := two[:]
	for len(parts) > 0 && parts[0]<<1 == 0 {
		parts = parts[1:]
	}
	dst = binary.AppendUvarint(dst, uint64(len(parts)))
	for _, x := range parts {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	return dst
}

var errSpecial = errors.New("got a part of a sum that is no finite number")

// maxFixed is the length in bytes of the largest fixed-point sum: 2^63 numbers.
const maxFixed = (1074 + 1024 + 63 + 7) / 8

func (s *acc) readFloat(data []byte) (rest []byte, err error) {
	if len(data) < 2 || data[0] >= 4*fixedForm {
		return nil, errTruncated
	}
	form := data[0]
	n, width := binary.Uvarint(data[1:])
	if width <= 0 {
		return nil, errTruncated
	}
	data = data[1+width:]
	if special := form & (fixedForm - 1); special != 0 {
		s.wide().special = special
	}
	if form&fixedForm != 0 {
		if n > maxFixed || n > uint64(len(data)) {
			return nil, errTruncated
		}
		w := s.wide()
		w.fixed = new(big.Int).SetBytes(data[:n])
		if form&(2*fixedForm) != 0 {
			w.fixed.Neg(w.fixed)
		}
		return data[n:], nil
	}
	if n > uint64(len(data)/8) {
		return nil, errTruncated
	}
	for range n {
		x := math.Float64frombits(binary.LittleEndian.Uint64(data))
		if x-x != 0 {
			return nil, errSpecial
		}
		s.addFloat(x)
		data = data[8:]
	}
	return data, nil
}
