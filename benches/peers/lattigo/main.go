// Single operations of Lattigo on one thread, timed for benches/peers/measure.py.
//
// Takes key=value arguments (log_n, primes, prime_bits, special, special_bits, seconds, operations); prints one JSON object
// like the other programs beside it. The linear transformation is the library's own, with hoisted baby steps.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tuneinsight/lattigo/v6/circuits/ckks/lintrans"
	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/schemes/ckks"
)

const (
	steps    = 8
	callsMin = 3
)

type measured struct {
	Ms            float64  `json:"ms"`
	Calls         int      `json:"calls"`
	PrecisionBits *float64 `json:"precision_bits"`
}

// timed gives the median milliseconds of calls after a first one that is not counted.
func timed(seconds float64, call func()) measured {
	call()
	var samples []float64
	begin := time.Now()
	for len(samples) < callsMin || time.Since(begin).Seconds() < seconds {
		start := time.Now()
		call()
		samples = append(samples, float64(time.Since(start).Nanoseconds())/1e6)
	}
	sort.Float64s(samples)
	return measured{Ms: samples[(len(samples)-1)/2], Calls: len(samples)}
}

// noise gives reproducible values in [-1, 1).
func noise(seed uint64, count int) []float64 {
	state := seed*0x9e3779b97f4a7c15 | 1
	values := make([]float64, count)
	for i := range values {
		state = state*6364136223846793005 + 1442695040888963407
		values[i] = float64(state>>11)/float64(uint64(1)<<52) - 1
	}
	return values
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type bench struct {
	params    ckks.Parameters
	keys      *rlwe.KeyGenerator
	secret    *rlwe.SecretKey
	encoder   *ckks.Encoder
	decryptor *rlwe.Decryptor
	values    [2][]float64
	plain     [2]*rlwe.Plaintext
	inputs    [2]*rlwe.Ciphertext
}

func repeated(bits, count int) []int {
	list := make([]int, count)
	for i := range list {
		list[i] = bits
	}
	return list
}

func newBench(number func(string) int) *bench {
	params, err := ckks.NewParametersFromLiteral(ckks.ParametersLiteral{
		LogN:            number("log_n"),
		LogQ:            repeated(number("prime_bits"), number("primes")),
		LogP:            repeated(number("special_bits"), number("special")),
		Xs:              ring.Ternary{P: 2.0 / 3},
		LogDefaultScale: number("prime_bits"),
	})
	check(err)
	b := &bench{params: params, keys: rlwe.NewKeyGenerator(params)}
	b.secret = b.keys.GenSecretKeyNew()
	b.encoder = ckks.NewEncoder(params)
	b.decryptor = rlwe.NewDecryptor(params, b.secret)
	encryptor := rlwe.NewEncryptor(params, b.secret)
	for i := range b.inputs {
		b.values[i] = noise(uint64(i+1), params.MaxSlots())
		b.plain[i] = ckks.NewPlaintext(params, params.MaxLevel())
		check(b.encoder.Encode(b.values[i], b.plain[i]))
		b.inputs[i], err = encryptor.EncryptNew(b.plain[i])
		check(err)
	}
	return b
}

// rotations gives an evaluator with keys for these elements, and with a relinearization key.
func (b *bench) evaluator(elements []uint64) *ckks.Evaluator {
	relinearization := b.keys.GenRelinearizationKeyNew(b.secret)
	return ckks.NewEvaluator(b.params, rlwe.NewMemEvaluationKeySet(relinearization, b.keys.GenGaloisKeysNew(elements, b.secret)...))
}

func (b *bench) run(operation string, seconds float64) measured {
	params, x, y, v, w := b.params, b.inputs[0], b.inputs[1], b.values[0], b.values[1]
	slots, level := params.MaxSlots(), params.MaxLevel()
	product := func(i int) float64 { return v[i] * w[i] }
	switch operation {
	case "rotate":
		evaluator := b.evaluator(params.GaloisElements([]int{1}))
		out := ckks.NewCiphertext(params, 1, level)
		m := timed(seconds, func() { check(evaluator.Rotate(x, 1, out)) })
		return b.judged(m, out, func(i int) float64 { return v[(i+1)%slots] })
	case "rotate8":
		var list []int
		out := map[int]*rlwe.Ciphertext{}
		for step := 1; step <= steps; step++ {
			list = append(list, step)
			out[step] = ckks.NewCiphertext(params, 1, level)
		}
		evaluator := b.evaluator(params.GaloisElements(list))
		m := timed(seconds, func() { check(evaluator.RotateHoisted(x, list, out)) })
		return b.judged(m, out[steps], func(i int) float64 { return v[(i+steps)%slots] })
	case "multiply":
		evaluator := b.evaluator(nil)
		wide, out := ckks.NewCiphertext(params, 1, level), ckks.NewCiphertext(params, 1, level-1)
		m := timed(seconds, func() {
			check(evaluator.MulRelin(x, y, wide))
			check(evaluator.Rescale(wide, out))
		})
		return b.judged(m, out, product)
	case "multiply_plain":
		evaluator := ckks.NewEvaluator(params, nil)
		wide, out := ckks.NewCiphertext(params, 1, level), ckks.NewCiphertext(params, 1, level-1)
		m := timed(seconds, func() {
			check(evaluator.Mul(x, b.plain[1], wide))
			check(evaluator.Rescale(wide, out))
		})
		return b.judged(m, out, product)
	case "encode":
		plain := ckks.NewPlaintext(params, level)
		return timed(seconds, func() { check(b.encoder.Encode(w, plain)) })
	case "linear64":
		return b.linear(seconds)
	}
	check(fmt.Errorf("no operation is named %s", operation))
	return measured{}
}

func (b *bench) linear(seconds float64) measured {
	params, slots, level, count := b.params, b.params.MaxSlots(), b.params.MaxLevel(), steps*steps
	diagonals := lintrans.Diagonals[float64]{}
	for d := 0; d < count; d++ {
		diagonals[d] = noise(uint64(100+d), slots)
		for i := range diagonals[d] {
			diagonals[d][i] /= float64(count)
		}
	}
	shape := lintrans.Parameters{
		DiagonalsIndexList:        diagonals.DiagonalsIndexList(),
		LevelQ:                    level,
		LevelP:                    params.MaxLevelP(),
		Scale:                     rlwe.NewScale(params.Q()[level]),
		LogDimensions:             params.LogMaxDimensions(),
		LogBabyStepGiantStepRatio: 0,
	}
	transformation := lintrans.NewTransformation(params, shape)
	if transformation.N1 != steps {
		check(fmt.Errorf("%d baby steps instead of %d", transformation.N1, steps))
	}
	check(lintrans.Encode(b.encoder, diagonals, transformation))
	evaluator := b.evaluator(lintrans.GaloisElements(params, shape))
	linear := lintrans.NewEvaluator(evaluator)
	wide, out := ckks.NewCiphertext(params, 1, level), ckks.NewCiphertext(params, 1, level-1)
	m := timed(seconds, func() {
		check(linear.Evaluate(b.inputs[0], transformation, wide))
		check(evaluator.Rescale(wide, out))
	})
	v := b.values[0]
	return b.judged(m, out, func(i int) float64 {
		sum := 0.0
		for d := 0; d < count; d++ {
			sum += diagonals[d][i] * v[(i+d)%slots]
		}
		return sum
	})
}

// judged adds the worst slot's precision in bits.
func (b *bench) judged(m measured, out *rlwe.Ciphertext, expected func(int) float64) measured {
	found := make([]float64, b.params.MaxSlots())
	check(b.encoder.Decode(b.decryptor.DecryptNew(out), found))
	worst := 0.0
	for i := range found {
		worst = math.Max(worst, math.Abs(found[i]-expected(i)))
	}
	bits := math.Round(-math.Log2(worst)*10) / 10
	m.PrecisionBits = &bits
	return m
}

func (b *bench) parameters() map[string]any {
	round := func(x float64) float64 { return math.Round(x*10) / 10 }
	params := b.params
	digits := params.BaseRNSDecompositionVectorSize(params.MaxLevel(), params.MaxLevelP())
	return map[string]any{
		"log_q":  round(params.LogQ()),
		"log_qp": round(params.LogQP()),
		"secret": "uniform ternary",
		"chain":  fmt.Sprintf("%d x %.0f bits", params.QCount(), params.LogQ()/float64(params.QCount())),
		"key":    fmt.Sprintf("%d digits, %d special primes", digits, params.PCount()),
		"path":   "Go",
	}
}

func main() {
	arguments := map[string]string{}
	for _, word := range os.Args[1:] {
		key, value, _ := strings.Cut(word, "=")
		arguments[key] = value
	}
	number := func(key string) int {
		value, err := strconv.Atoi(arguments[key])
		check(err)
		return value
	}
	seconds, err := strconv.ParseFloat(arguments["seconds"], 64)
	check(err)
	b := newBench(number)
	operations := map[string]measured{}
	for _, operation := range strings.Split(arguments["operations"], ",") {
		operations[operation] = b.run(operation, seconds)
	}
	text, err := json.Marshal(map[string]any{
		"library": "lattigo", "version": "6.2.0", "parameters": b.parameters(), "operations": operations,
	})
	check(err)
	fmt.Println(string(text))
}
