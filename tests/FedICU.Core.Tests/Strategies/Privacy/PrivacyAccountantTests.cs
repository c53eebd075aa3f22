using System.Text.Json;

namespace FedICU.Tests;

/// <summary>The accountant beside shared/golden/family/accounting.json and the values that others published.</summary>
internal sealed class PrivacyAccountantTests
{
    private static readonly Lazy<JsonElement> Account = new(() =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Golden.Folder!, "family", "accounting.json"))).RootElement);

    [SetUp]
    public void RequireGolden()
    {
        if (Golden.Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
    }

    [Test]
    public void TheOrdersAreThoseOfTheReference()
    {
        double[] orders = [.. Account.Value.GetProperty("orders").EnumerateArray().Select(order => order.GetDouble())];
        Assert.That(PrivacyAccountant.Orders, Is.EqualTo(orders));
    }

    [Test]
    public void RenyiDivergencesAgree()
    {
        foreach (JsonElement one in Account.Value.GetProperty("rdp").EnumerateArray())
        {
            double found = PrivacyAccountant.ComputeRdp(Get(one, "q"), Get(one, "sigma"), Get(one, "order"));
            Assert.That(found, Is.EqualTo(Get(one, "rdp")).Within(1e-9 * Get(one, "rdp")), one.ToString());
        }
    }

    [Test]
    public void EpsilonsAgree()
    {
        foreach (JsonElement one in Account.Value.GetProperty("epsilon").EnumerateArray())
        {
            (double epsilon, double order) = Compute(one, null);
            Assert.That(epsilon, Is.EqualTo(Get(one, "epsilon")).Within(1e-9 * Get(one, "epsilon")), one.ToString());
            Assert.That(order, Is.EqualTo(Get(one, "order")));
        }
    }

    [Test]
    public void PublishedEpsilonsAgree()
    {
        foreach (JsonElement one in Account.Value.GetProperty("published").EnumerateArray())
        {
            if (!one.TryGetProperty("epsilon", out JsonElement published) || !one.TryGetProperty("orders", out JsonElement orders))
                continue;
            double epsilon = Compute(one, [.. orders.EnumerateArray().Select(order => order.GetDouble())]).Epsilon;
            string? source = one.GetProperty("source").GetString();
            Assert.That(epsilon, Is.EqualTo(published.GetDouble()).Within(1e-6 * published.GetDouble()), source);
        }
    }

    [Test]
    public void HardlyAnyNoiseCostsNoTimeAndGivesHardlyAnyPrivacy()
    {
        double before = 0;
        foreach (double multiplier in (double[])[0.02, 0.0101, 0.0099, 0.005, 1e-9, 1e-20])
        {
            double epsilon = PrivacyAccountant.ComputeEpsilon(0.01, multiplier, 100, 1e-5).Epsilon;
            Assert.That(epsilon, Is.GreaterThan(before), $"{multiplier}");
            before = epsilon;
        }

        // beside the integral, the straight line between whole orders is a close bound
        double integral = PrivacyAccountant.ComputeRdp(0.01, 0.01, 1.1), line = PrivacyAccountant.ComputeRdp(0.01, 0.009999, 1.1);
        Assert.That(line, Is.GreaterThan(integral));
    }

    [Test]
    public void NumbersOutOfRangeAreRefused()
    {
        Assert.That(() => PrivacyAccountant.ComputeRdp(1.5, 1, 2), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => PrivacyAccountant.ComputeRdp(0.5, 0, 2), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => PrivacyAccountant.ComputeRdp(0.5, 1, 1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => PrivacyAccountant.ComputeEpsilon(0.5, 1, 1, 1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => PrivacyAccountant.ComputeEpsilon(0.5, 1, -1, 1e-5), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    private static (double Epsilon, double Order) Compute(JsonElement one, IReadOnlyList<double>? orders) =>
        PrivacyAccountant.ComputeEpsilon(
            Get(one, "sampling-rate"), Get(one, "noise-multiplier"), one.GetProperty("rounds").GetInt64(), Get(one, "delta"), orders);

    private static double Get(JsonElement one, string name) => one.GetProperty(name).GetDouble();
}
