//! A deep network on a small image: convolutions and ReLU in turn, more than leveled parameters have levels for.
//!
//! Relies on the ONNX writer of the frontend's tests. Promises: the same bytes always (additions, products and square roots of
//! float32 alone). Convolutions are normalised on random images, as by batch norms that are folded, so that every channel has
//! mean 0 and deviation 1 in front of its ReLU; ranges and moments stand in the metadata.

use crate::onnx::{File, Node, random};

/// Rows and columns of the image.
const SIDE: usize = 8;
/// Channels of the image, and of what follows.
const CHANNELS: usize = 3;
const MAPS: usize = 4;
const CLASSES: usize = 5;
/// Images on which it is normalised.
const IMAGES: u64 = 64;
/// Pixels of all maps.
type Maps = Vec<f32>;

/// Writes a network's file.
type Maker = fn() -> Vec<u8>;

/// Name and maker.
pub const ALL: [(&str, Maker); 1] = [("deep_cnn", || deep_cnn(20))];

/// A network of so many convolutions, each followed by ReLU.
pub fn deep_cnn(convolutions: u64) -> Vec<u8> {
    let mut file = File::new(13, &[1, CHANNELS as i64, SIDE as i64, SIDE as i64]);
    let image = |seed| random(CHANNELS * SIDE * SIDE, 100 + seed).iter().map(|v| v + 0.5).collect();
    let mut images: Vec<Maps> = (0..IMAGES).map(image).collect();
    let (mut last, mut maps) = ("x".to_owned(), CHANNELS);
    let (mut ranges, mut moments) = (vec![], vec![]);
    for layer in 1..=convolutions {
        let fan = maps * 9;
        let mut weight: Vec<f32> = random(MAPS * fan, layer);
        images.iter_mut().for_each(|image| *image = convolved(image, &weight, maps));
        let bias = normalise(&mut images, &mut weight, fan);
        let (conv, relu) = (format!("conv{layer}"), format!("relu{layer}"));
        ranges.push(format!("\"{conv}\": {}", range(&images)));
        moments.push(format!("\"{conv}\": [0.0, 1.0]"));
        let dims = [MAPS as i64, maps as i64, 3, 3];
        let node = Node::new("Conv", &format!("{last} {conv}.weight {conv}.bias"), &conv);
        let node = node.ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]).named(&conv);
        file = file.floats(&format!("{conv}.weight"), &dims, &weight);
        file = file.floats(&format!("{conv}.bias"), &dims[..1], &bias).node(node);
        file = file.node(Node::new("Relu", &conv, &relu).named(&relu));
        images.iter_mut().flatten().for_each(|x| *x = x.max(0.0));
        (last, maps) = (relu, MAPS);
    }
    let columns = MAPS * SIDE * SIDE;
    let weight: Vec<f32> = random(CLASSES * columns, 77).iter().map(|w| 0.3 * w).collect();
    let scores = |image: &Maps| weight.chunks(columns).map(|row| dot(row, image)).collect::<Maps>();
    let scores: Vec<Maps> = images.iter().map(scores).collect();
    // The mean image has no favourite.
    let mean = |class: usize| scores.iter().map(|s| s[class]).sum::<f32>() / IMAGES as f32;
    let bias: Vec<f32> = (0..CLASSES).map(|class| -mean(class)).collect();
    ranges.push("\"logits\": [-8.0, 8.0], \"x\": [0.0, 1.0]".into());
    let dims = [CLASSES as i64, columns as i64];
    file = file.node(Node::new("Flatten", &last, "flat").named("flat"));
    file = file.floats("fc.weight", &dims, &weight).floats("fc.bias", &dims[..1], &bias);
    file = file.node(Node::new("Gemm", "flat fc.weight fc.bias", "logits").int("transB", 1).named("logits"));
    let object = |entries: Vec<String>| format!("{{{}}}", entries.join(", "));
    file = file.metadata("cipherloom.ranges", &object(ranges));
    file.metadata("cipherloom.std", &object(moments)).bytes("logits")
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A 3x3 convolution that keeps the size.
fn convolved(image: &Maps, weight: &[f32], maps: usize) -> Maps {
    let mut out = vec![0.0; MAPS * SIDE * SIDE];
    for (o, y, x) in (0..MAPS).flat_map(|o| (0..SIDE).flat_map(move |y| (0..SIDE).map(move |x| (o, y, x)))) {
        let mut sum = 0.0;
        for (i, dy, dx) in (0..maps).flat_map(|i| (0..3).flat_map(move |y| (0..3).map(move |x| (i, y, x)))) {
            let (row, column) = (y + dy, x + dx);
            if (1..=SIDE).contains(&row) && (1..=SIDE).contains(&column) {
                let pixel = image[(i * SIDE + row - 1) * SIDE + column - 1];
                sum += weight[((o * maps + i) * 3 + dy) * 3 + dx] * pixel;
            }
        }
        out[(o * SIDE + y) * SIDE + x] = sum;
    }
    out
}

/// Brings every map to mean 0 and deviation 1, weights included; the bias that does it.
fn normalise(images: &mut [Maps], weight: &mut [f32], fan: usize) -> Vec<f32> {
    let plane = SIDE * SIDE;
    let mut one = |map: usize| {
        let own = map * plane..(map + 1) * plane;
        let count = (images.len() * plane) as f32;
        let mean = images.iter().flat_map(|i| &i[own.clone()]).sum::<f32>() / count;
        let squares =
            images.iter().flat_map(|i| &i[own.clone()]).map(|x| (x - mean) * (x - mean)).sum::<f32>();
        let factor = 1.0 / (squares / count).sqrt();
        images.iter_mut().flat_map(|i| &mut i[own.clone()]).for_each(|x| *x = (*x - mean) * factor);
        weight[map * fan..(map + 1) * fan].iter_mut().for_each(|w| *w *= factor);
        -mean * factor
    };
    (0..MAPS).map(&mut one).collect()
}

/// Range with a tenth of its width at both ends.
fn range(images: &[Maps]) -> String {
    let all = || images.iter().flatten().copied();
    let (low, high) = (all().fold(f32::INFINITY, f32::min), all().fold(f32::NEG_INFINITY, f32::max));
    let margin = 0.1 * (high - low);
    format!("[{:.2}, {:.2}]", low - margin, high + margin)
}
