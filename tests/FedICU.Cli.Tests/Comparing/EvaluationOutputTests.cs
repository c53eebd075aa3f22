using FedICU.Cli.Comparing;

namespace FedICU.Cli.Tests.Comparing;

/// <summary>Tests which numbers are read from what an evaluation prints.</summary>
public sealed class EvaluationOutputTests
{
    [TestCase("0.93", "value 0.93")]
    [TestCase("loading\n\n0.93\n\n", "value 0.93")]
    [TestCase("loading\r\n-1e-3\r\n", "value -0.001")]
    [TestCase("accuracy: 0.93\nloss=0.2", "accuracy 0.93 loss 0.2")]
    [TestCase("epoch: 3\ndone\naccuracy: 0.93", "accuracy 0.93")]
    [TestCase("top 1 accuracy: 0.5", "top 1 accuracy 0.5")]
    [TestCase("accuracy=0.5 loss=0.25, f1: 1", "accuracy 0.5 loss 0.25 f1 1")]
    [TestCase("loss: nan", "loss NaN")]
    [TestCase("loss: -inf", "loss -Infinity")]
    [TestCase("""{"accuracy": 0.5, "name": "x", "ok": true, "list": [1], "deep": {"loss": 2}}""", "accuracy 0.5 deep.loss 2")]
    [TestCase("""{"loss": NaN, "best": -Infinity, "text": "a NaN, \" NaN", "worst": "Infinity"}""",
        "loss NaN best -Infinity worst Infinity")]
    [TestCase("step: 1\n{\n  \"a\": {\n    \"b\": 1\n  }\n}\n", "a.b 1")]
    [TestCase("{not json}\nloss: 1", "loss 1")]
    [TestCase("a: 1\na: 2", "a 2")]
    [TestCase("""{"a": 1e999}""", "a Infinity")]
    [TestCase("""{"a": 1, "b": "\ud800", "\udc00": 2, "\ud800": {"d": 3}, "c": 4}""", "a 1 c 4")]
    public void TheNumbersAreRead(string printed, string expected) =>
        Assert.That(
            string.Join(' ', EvaluationOutput.Read(printed).Select(metric => FormattableString.Invariant($"{metric.Key} {metric.Value}"))),
            Is.EqualTo(expected));

    [TestCase("")]
    [TestCase("\n\n")]
    [TestCase("done")]
    [TestCase("93 %")]
    [TestCase("accuracy: 93%")]
    [TestCase("accuracy: ")]
    [TestCase(": 3")]
    [TestCase("{}")]
    [TestCase("""{"a": "x"}""")]
    [TestCase("[1, 2]")]
    public void ATextWithoutANumberHasNoMetric(string printed) => Assert.That(EvaluationOutput.Read(printed), Is.Empty);

    [Test]
    public void AHostileOutputEndsAndIsBounded([Values("[", "{\"a\":", "a=1,", "{", "\"", "a:1 ")] string piece) =>
        Assert.That(EvaluationOutput.Read(string.Concat(Enumerable.Repeat(piece, 20_000))), Has.Count.LessThanOrEqualTo(500));
}
