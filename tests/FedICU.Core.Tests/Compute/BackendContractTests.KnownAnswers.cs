using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

// Known answers, and arguments that are refused.
public abstract unsafe partial class BackendContractTests
{
    [Test]
    public void SumsHaveKnownAnswers()
    {
        float[] x = [1, 2, float.NaN], y = [3, 5, 7];
        float[] output = new float[3];
        double[] coefficients = [1, 3], squares = [1];
        fixed (float* first = x, second = y, target = output)
        fixed (double* c = coefficients, q = squares)
        {
            TensorPanel[] inputs = [new(first, DType.F32), new(second, DType.F32)];
            Assert.That(_backend.WeightedSum(inputs, coefficients, 4, 3, new TensorPanel(target, DType.F32)), Is.EqualTo(1));
            Assert.That(output, Is.EqualTo(new[] { 2.5f, 4.25f, float.NaN }));
            var geometry = new PanelGeometry(1, 2, GroupsAreColumns: false);
            Assert.That(_backend.Combine(inputs, geometry, new GroupValues(c, 1), null, new TensorPanel(target, DType.F32), q), Is.Zero);
            Assert.That(output[..2], Is.EqualTo(new[] { 10f, 17f }));
            Assert.That(squares, Is.EqualTo(new[] { 1.0 + 100 + 289 }));
            Assert.That(_backend.CountNonFinite(inputs[0], 3), Is.EqualTo(1));
        }
    }

    [Test]
    public void GroupSumsHaveKnownAnswers()
    {
        // two inputs of 2 rows and 3 columns
        double[] x = [1, 2, 3, 4, 5, 6], y = [1, 0, -1, 2, 0, 1];
        double[] columns = new double[6], rows = new double[4];
        double[] a = [1, 2, 3, 1, 1, 1], b = [1, 1, 1, 2, 0, 1], dots = [100, 200];
        fixed (double* first = x, second = y, c = columns, r = rows, scales = a, coefficients = b)
        {
            TensorPanel[] inputs = [new(first, DType.F64), new(second, DType.F64)];
            PanelGeometry byColumn = new(2, 3, GroupsAreColumns: true), byRow = new(2, 3, GroupsAreColumns: false);
            _backend.AddSquares(inputs, byColumn, new GroupValues(c, 3));
            Assert.That(columns, Is.EqualTo(new double[] { 17, 29, 45, 5, 0, 2 }));
            _backend.AddSquares(inputs, byRow, new GroupValues(r, 2));
            Assert.That(rows, Is.EqualTo(new double[] { 14, 77, 2, 5 }));
            double* g = stackalloc double[9] { 0, 0, 0, 100, 0, 0, 0, 0, 0 };
            _backend.AddGram(inputs, byColumn, new GroupValues(g, 3));
            double[] expected = [17, 29, 45, 109, 0, 3, 5, 0, 2];
            Assert.That(new Span<double>(g, 9).ToArray(), Is.EqualTo(expected), "x x, then x y, then y y");
            double* h = stackalloc double[6];
            new Span<double>(h, 6).Clear();
            _backend.AddGram(inputs, byRow, new GroupValues(h, 2));
            Assert.That(new Span<double>(h, 6).ToArray(), Is.EqualTo(new double[] { 14, 77, -2, 14, 2, 5 }));
            // t = [1+2, 2, 3-1; 4+4, 5, 6+1]
            _backend.AddProjections(inputs, byColumn, new GroupValues(scales, 3), new GroupValues(coefficients, 3), dots);
            Assert.That(dots, Is.EqualTo(new double[] { 100 + 3 + 8 + 18 + 32 + 50 + 126, 200 + 3 - 2 + 16 + 7 }));
        }
    }

    [Test]
    public void OrderStatisticsAndDistancesHaveKnownAnswers()
    {
        float[] x = [3, -0f, 1, float.NaN], y = [1, 0, 1, 2], z = [8, -0f, 2, 2], u = [5, 0, 4, 2], output = new float[4];
        double[] sums = [1, 0, 0];
        fixed (float* a = x, b = y, c = z, d = u, target = output)
        {
            TensorPanel result = new(target, DType.F32);
            TensorPanel[] three = [new(a, DType.F32), new(b, DType.F32), new(c, DType.F32)], four = [.. three, new(d, DType.F32)];
            Assert.That(_backend.MiddleMean(three, 1, 4, result), Is.EqualTo(1));
            Assert.That(output, Is.EqualTo(new[] { 3, -0f, 1, 2 }), "the middle of three, -0 before +0, and a NaN at the end");
            Assert.That(float.IsNegative(output[1]));
            Assert.That(_backend.MiddleMean(four, 1, 3, result), Is.Zero);
            Assert.That(output[..3], Is.EqualTo(new[] { 4, 0f, 1.5f }), "the mean of the middle two");
            Assert.That(float.IsNegative(output[1]), Is.False, "the mean of -0 and +0");
            Assert.That(_backend.MiddleMean(four, 0, 3, result), Is.Zero);
            Assert.That(output[..3], Is.EqualTo(new[] { 4.25f, 0, 2 }), "the mean of all");
            _backend.AddPairDistances(three, 3, sums);
            Assert.That(sums, Is.EqualTo(new double[] { 1 + 4, 25 + 1, 49 + 1 }), "x y, then x z, then y z");
            double[] squares = [1, 0], products = [0, 10];
            _backend.AddDistances(three.AsSpan(0, 2), three[2], four[3], 3, squares, products);
            Assert.That(squares, Is.EqualTo(new double[] { 1 + 26, 50 }), "x and y to z");
            Assert.That(products, Is.EqualTo(new double[] { 15 - 2, 10 + 21 - 2 }), "x - z and y - z with u - z = (-3, 0, 2)");
            _backend.AddDistances(three.AsSpan(0, 1), default, default, 3, squares, []);
            Assert.That(squares[0], Is.EqualTo(27 + 10), "the norm of x, added");
        }
    }

    [Test]
    public void OrderStatisticsAndDistancesRefuseWrongArguments()
    {
        float* data = stackalloc float[4];
        var panel = new TensorPanel(data, DType.F32);
        Assert.That(() => _backend.MiddleMean([], 0, 4, panel), Throws.ArgumentException);
        Assert.That(() => _backend.MiddleMean([panel, panel], 1, 4, panel), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => _backend.MiddleMean([panel], -1, 4, panel), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => _backend.MiddleMean([new TensorPanel(data, DType.I32)], 0, 4, panel), Throws.ArgumentException);
        Assert.That(() => _backend.AddPairDistances([panel, panel, panel], 4, new double[2]), Throws.ArgumentException);
        Assert.That(() => _backend.AddDistances([panel, panel], panel, default, 4, new double[1], []), Throws.ArgumentException);
        Assert.That(() => _backend.AddDistances([panel], panel, panel, 4, new double[1], []), Throws.ArgumentException);
    }

    [Test]
    public void ImportancesHaveKnownAnswers()
    {
        double[] local = [2, 1, 5, -3], global = [1, -1, 2, 1], importance = new double[4];
        fixed (double* l = local, g = global, z = importance)
        {
            var inputs = new ImportanceInputs(new TensorPanel(g, DType.F64), new TensorPanel(l, DType.F64), default, MomentumRule.None, 0);
            MagnitudeMoments u = default, m = default;
            _backend.AddMoments(inputs, 4, ref u, ref m);
            Assert.That((u.Count, u.Mean, u.SquaredDeviations, u.Minimum, u.Maximum), Is.EqualTo((4L, 2.5, 5.0, 1.0, 4.0)));
            Assert.That((m.Count, m.Mean, m.SquaredDeviations, m.Minimum, m.Maximum), Is.EqualTo((4L, 1.25, 0.75, 1.0, 2.0)));
            byte mask;
            // |u| = 1 2 3 4, z_u = -1 0 1 2; |g| = 1 1 2 1, z_g = -2 -2 0 -2: all but a tie
            Assert.That(_backend.SelectImportant(inputs, 4, new(2, 1), new(2, 0.5), &mask, default), Is.EqualTo(4));
            Assert.That(mask, Is.EqualTo(0b1111));
            Assert.That(_backend.SelectImportant(inputs, 4, new(3, 1), new(2, 0.5), &mask, default), Is.EqualTo(2), "z_u = -2 -1 0 1");
            Assert.That(mask, Is.EqualTo(0b1010), "equal importances keep the received value");
            long selected = _backend.SelectImportant(inputs, 4, new(3, 0), new(2, 0.5), &mask, default);
            Assert.That(selected, Is.EqualTo(4), "without a spread, all changes are important");
            Assert.That(mask, Is.EqualTo(0b1111));
            var unchanged = new ImportanceInputs(inputs.Global, inputs.Global, default, MomentumRule.None, 0);
            Assert.That(_backend.SelectImportant(unchanged, 4, new(0, 0), new(2, 0.5), &mask, default), Is.Zero);
            Assert.That(mask, Is.Zero);
            Assert.That(_backend.SelectImportant(inputs, 4, new(3, 1), new(2, 0), &mask, default), Is.EqualTo(4));
            Assert.That(mask, Is.EqualTo(0b1111));
            _backend.Importance(inputs, 4, new(3, 2), new(2, 0.5), false, z, null);
            Assert.That(importance, Is.EqualTo(new[] { -1, -0.5, 0, 0.5 }));
            _backend.Importance(inputs, 4, new(3, 1), new(2, 0.5), true, null, z);
            Assert.That(importance[2], Is.EqualTo(0.5));
            Assert.That(importance[0], Is.EqualTo(1 / (1 + Math.E * Math.E)).Within(1e-16));
            Assert.That(_backend.AddProximal(inputs.Local, inputs.Global, 2, 4, new TensorPanel(l, DType.F64)), Is.EqualTo(1 + 4 + 9 + 16));
            Assert.That(local, Is.EqualTo(new double[] { 4, 5, 11, -11 }));
        }
    }

    [Test]
    public void ImportancesAreThoseOfTheMethod()
    {
        // method.md, section 3: theta_g, u and theta_k, and G and S as computed by an independent float64
        // implementation
        double[] global = [1, -.2, .5, .1], momentum = [.05, -.4, .3, .02], local = [1.05, -.6, .8, .12];
        double[] g = new double[4], s = new double[4];
        fixed (double* x = global, u = momentum, y = local, importanceOfGlobal = g, importanceOfUpdate = s)
        {
            var inputs = new ImportanceInputs(
                new TensorPanel(x, DType.F64), new TensorPanel(y, DType.F64), new TensorPanel(u, DType.F64), MomentumRule.Supplied, 0);
            MagnitudeMoments ofUpdate = default, ofGlobal = default;
            _backend.AddMoments(inputs, 4, ref ofUpdate, ref ofGlobal);
            ImportanceScale update = new(ofUpdate.Mean, ofUpdate.StandardDeviation);
            ImportanceScale received = new(ofGlobal.Mean, ofGlobal.StandardDeviation);
            _backend.Importance(inputs, 4, update, received, sigmoid: true, importanceOfUpdate, importanceOfGlobal);
            Assert.That(g, Is.EqualTo(new[] { .79590546, .35010230, .53089009, .29608201 }).Within(5e-9));
            Assert.That(s, Is.EqualTo(new[] { .31802216, .75228841, .64003200, .28424903 }).Within(5e-9));
            byte mask;
            Assert.That(_backend.SelectImportant(inputs, 4, update, received, &mask, default), Is.EqualTo(2));
            Assert.That(mask, Is.EqualTo(0b0110), "where S > G");
        }
    }

    [Test]
    public void AnInfiniteCoefficientDoesNotReachPastTheEnd([Values] bool groupsAreColumns, [Range(1, 9)] int columns)
    {
        double[] x = Enumerable.Repeat(1.0, columns).ToArray(), infinite = Enumerable.Repeat(double.PositiveInfinity, columns).ToArray();
        double[] dots = [0];
        fixed (double* input = x, a = infinite)
        {
            var values = new GroupValues(a, columns);
            var geometry = new PanelGeometry(1, columns, groupsAreColumns);
            _backend.AddProjections([new TensorPanel(input, DType.F64)], geometry, values, values, dots);
            Assert.That(dots[0], Is.EqualTo(double.PositiveInfinity));
            double squares = 0;
            _backend.Combine([new TensorPanel(input, DType.F64)], new PanelGeometry(1, columns, false), values, null, default, &squares);
            Assert.That(squares, Is.EqualTo(double.PositiveInfinity));
        }
    }

    [Test]
    public void ATypeThatIsNotComputedIsRefused()
    {
        long data = 0;
        var panel = new TensorPanel(&data, DType.I32);
        Assert.Throws<ArgumentException>(() => _backend.WeightedSum([panel], [1.0], 1, 1, panel));
        Assert.Throws<ArgumentException>(() => _backend.CountNonFinite(panel, 1));
        Assert.Throws<ArgumentException>(() => _backend.WeightedSum([], [], 1, 1, panel));
        Assert.Throws<ArgumentException>(() => _backend.WeightedSum([panel, panel], [1.0], 1, 1, panel));
    }
}
