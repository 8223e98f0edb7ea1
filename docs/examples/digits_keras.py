"""Trains a small network on scikit-learn's 8 x 8 digits with Keras and writes what the tutorial needs.

    pip install tensorflow-cpu tf2onnx scikit-learn
    python digits_keras.py              # digits.onnx, calibrate.npz, test.npz

Keras images are height x width x channels; the ONNX file keeps that, with transpositions that cost nothing once compiled.
"""

import numpy
import tensorflow
import tf2onnx
from sklearn.datasets import load_digits
from tensorflow import keras


def main() -> None:
    keras.utils.set_random_seed(1)
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) * 255 / 16).round().astype(numpy.uint8)
    order = numpy.random.default_rng(1).permutation(len(images))
    images, labels = images[order], labels[order]
    train, test = slice(0, 1400), slice(1400, None)

    layers = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 1)),
        layers.Conv2D(16, 3, padding="same"),
        layers.BatchNormalization(),
        layers.Activation("silu"),
        layers.AveragePooling2D(2),
        layers.Conv2D(32, 3, padding="same"),
        layers.BatchNormalization(),
        layers.Activation("silu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(0.01), loss=loss)
    model.fit(images[train] / 255.0, labels[train], batch_size=64, epochs=30, verbose=0)

    right = (model.predict(images[test] / 255.0, verbose=0).argmax(1) == labels[test]).mean()
    print(f"{100 * right:.1f} % of the test images are classified rightly in the clear")
    function = tensorflow.function(lambda image: model(image, training=False))
    signature = [tensorflow.TensorSpec((1, 8, 8, 1), tensorflow.float32, name="image")]
    tf2onnx.convert.from_function(function, signature, opset=17, output_path="digits.onnx")
    numpy.savez("calibrate.npz", images=images[train][:300])
    numpy.savez("test.npz", images=images[test], labels=labels[test])


if __name__ == "__main__":
    main()
